// The symmetric eigenproblem: what the files share. Matrices are row-major; addresses come from eigen/portable.ts.
#pragma once

#define EXPORT(name) __attribute__((export_name(name)))

// Two entries, at any multiple of 8 bytes.
typedef double pair __attribute__((vector_size(16), aligned(8)));

#define LOAD(at) (*(const pair *)(at))
#define STORE(at, value) (*(pair *)(at) = (value))
#define BOTH(x) ((pair){(x), (x)})

// Behind the rotations of a sweep, 16 bytes long like a rotation; so the log can be read from its end.
typedef struct {
  int first;   // the lowest row that it turns
  int count;   // of rotations: the rows first to first + count
  int upwards; // 1 when made from the lowest row to the highest, 0 for the other way
  int unused;
} sweep;

// Turns the rows i and i + 1: x_i <- c x_i + s x_i+1, x_i+1 <- c x_i+1 - s x_i.
typedef struct {
  double c, s;
} rotation;
