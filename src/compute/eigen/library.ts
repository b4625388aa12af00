/** Finds the platform's LAPACK and makes sure of its calling convention. */
import { createRequire } from 'node:module';

/** Names of LAPACK libraries that are tried in order, as the platform's loader takes them. */
export function lapackCandidates(platform: NodeJS.Platform = process.platform): readonly string[] {
  switch (platform) {
    case 'darwin':
      return ['/System/Library/Frameworks/Accelerate.framework/Accelerate'];
    case 'win32':
      return ['libopenblas.dll', 'mkl_rt.2.dll'];
    default:
      // libopenblasp: Fedora's build with threads, whose libopenblas is without.
      return ['libopenblas.so.0', 'libopenblasp.so.0', 'libmkl_rt.so.2', 'liblapack.so.3'];
  }
}

/** What a person does to get a LAPACK library. */
export function lapackInstallation(platform: NodeJS.Platform = process.platform): string {
  switch (platform) {
    case 'darwin':
      return 'macOS has one (Accelerate), which did not load: update macOS';
    case 'win32':
      return 'put libopenblas.dll (https://github.com/OpenMathLib/OpenBLAS/releases) into a folder of PATH';
    default:
      return 'sudo apt install libopenblas0 (Debian, Ubuntu) or sudo dnf install openblas-threads (Fedora)';
  }
}

/** Arguments of a LAPACK routine: arrays are passed by their address, without a copy. */
type Argument = Uint8Array | Int32Array | Float64Array | number;
type Routine = (...args: Argument[]) => void;

/** The three routines that dsyevd consists of, and one of BLAS (https://netlib.org/lapack/explore-html/). */
export interface LapackRoutines {
  /** C <- beta C + alpha A^T A, one triangle: uplo, trans, n, k, alpha, a, lda, beta, c, ldc. Null where it is missing. */
  readonly dsyrk: Routine | null;
  /** Symmetric to tridiagonal: uplo, n, a, lda, d, e, tau, work, lwork, info. */
  readonly dsytrd: Routine;
  /** Tridiagonal, by divide and conquer: compz, n, d, e, z, ldz, work, lwork, iwork, liwork, info. */
  readonly dstedc: Routine;
  /** From tridiagonal vectors to those of the matrix: side, uplo, trans, m, n, a, lda, tau, c, ldc, work, lwork, info. */
  readonly dormtr: Routine;
}

export interface LapackLibrary extends LapackRoutines {
  readonly description: string;
}

interface Loaded {
  func(name: string, result: string, args: string[]): (...args: unknown[]) => unknown;
}

/**
 * Loads a library. Its threads are set to one per caller, for the whole process where it knows only that.
 *
 * @throws Error saying why this one cannot be used
 */
export function loadLapack(path: string): LapackLibrary {
  const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): Loaded };
  const library = koffi.load(path);
  const identity = identify(library);
  const routines: LapackRoutines = {
    dsyrk: optionalRoutine(library, 'dsyrk_', 'cciiddiddi'),
    dsytrd: routine(library, 'dsytrd_', 'cididdddii'),
    dstedc: routine(library, 'dstedc_', 'cidddidiiii'),
    dormtr: routine(library, 'dormtr_', 'ccciididdidii'),
  };
  checkIntegers(routines);
  return { ...routines, description: `LAPACK of ${path.replace(/^.*\//, '')} (${identity})` };
}

/** One letter an argument: c(har), i(nt), d(ouble), all by address. The lengths of characters follow, as Fortran has it. */
function routine(library: Loaded, name: string, signature: string): Routine {
  const types = { c: 'const char *', i: 'int *', d: 'double *' } as const;
  const letters = [...signature] as (keyof typeof types)[];
  const lengths = letters.filter((letter) => letter === 'c').map(() => 1);
  const call = library.func(name, 'void', [...letters.map((letter) => types[letter]), ...lengths.map(() => 'size_t')]);
  return (...args) => void call(...args, ...lengths);
}

/** A LAPACK without its BLAS is one all the same. */
function optionalRoutine(...args: Parameters<typeof routine>): Routine | null {
  try {
    return routine(...args);
  } catch {
    return null;
  }
}

/** The library's own name and version where it tells, and one thread where it can be told. */
function identify(library: Loaded): string {
  const optional = (name: string, result: string, args: string[]) => {
    try {
      return library.func(name, result, args);
    } catch {
      return null;
    }
  };
  const openblas = optional('openblas_get_config', 'const char *', []);
  if (openblas) {
    if (optional('openblas_get_parallel', 'int', [])?.() === 0) {
      throw new Error('it is built without threads, so several callers at once are not safe');
    }
    library.func('openblas_set_num_threads', 'void', ['int'])(1);
    return `${String(openblas()).split(' ').slice(0, 2).join(' ')}, one thread`;
  }
  const mklThreads = optional('MKL_Set_Num_Threads', 'void', ['int']);
  if (mklThreads) {
    mklThreads(1);
    const text = Buffer.alloc(200);
    optional('mkl_get_version_string', 'void', ['char *', 'int'])?.(text, text.length);
    return `${/Version [\d.]+/.exec(text.toString('latin1'))?.[0].replace('Version', 'MKL') ?? 'MKL'}, one thread`;
  }
  const accelerate = optional('BLASSetThreading', 'int', ['uint32']);
  // 1: BLAS_THREADING_SINGLE_THREADED (macOS 15); for this thread only.
  if (accelerate) return accelerate(1) === 0 ? 'Accelerate, one thread' : 'Accelerate';
  if (process.platform === 'darwin') {
    process.env.VECLIB_MAXIMUM_THREADS ??= '1';
    return 'Accelerate';
  }
  return 'version unknown';
}

/**
 * Builds with 64-bit integers have the same names. Integers are passed here with zeros behind them, so both kinds read
 * the same number, and only the 64-bit one writes beyond 32 bits of the result code.
 */
function checkIntegers({ dsytrd }: LapackRoutines): void {
  const int = (value: number) => Int32Array.of(value, 0);
  const [d, e, tau, work] = [new Float64Array(3), new Float64Array(2), new Float64Array(2), new Float64Array(96)];
  const info = Int32Array.of(7, 7);
  const a = Float64Array.of(2, -1, 0, -1, 2, -1, 0, -1, 2);
  dsytrd(Buffer.from('L'), int(3), a, int(3), d, e, tau, work, int(96), info);
  if (info[0] !== 0) throw new Error(`its dsytrd fails with code ${info[0]}`);
  if (info[1] !== 7) throw new Error('it has 64-bit integers');
}
