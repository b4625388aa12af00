/**
 * Keeps onnxruntime from reporting to its vendor: its Linux binaries come with telemetry switched on, and each
 * process leaves files of it in the temporary directory, unless this variable is set. A value that the user set is left alone.
 *
 * Must run in the process's main thread before onnxruntime is loaded anywhere: what a worker thread writes to its
 * environment stays its own, and native code does not see it. The command line calls it first of all; a program that
 * uses this library inside worker threads sets the variable itself.
 */
export function disableTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
}
