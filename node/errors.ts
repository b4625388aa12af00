import { KinmergeError } from '../src/errors.ts';

/**
 * What can go wrong in a node or its command line, one line each:
 *
 * - `HOME_NOT_JOINED`: the home belongs to no community yet
 * - `HOME_ALREADY_JOINED`: the home belongs to another community
 * - `HOME_LOCKED`: another process uses the home
 * - `HOME_INVALID`: a file of the home cannot be read
 * - `HOME_NEWER`: a newer version wrote the home
 * - `KEY_INVALID`: a key file is not an ed25519 private key
 * - `BASE_MISMATCH`: the base checkpoint is not the one that the charter names
 * - `CHARTER_MISMATCH`: a charter does not hash to the community id
 * - `OBJECT_CORRUPT`: a stored object does not hash to its id
 * - `BLOB_INVALID`: blocks of a blob are missing
 * - `FOLD_FAILED`: the merge of the current recipe failed; the node tries again
 * - `WORKER_FAILED`: a worker thread died
 * - `DECLINED`: the own node would decline the update
 * - `VERIFY_FAILED`: a checkpoint is not what its recipe says
 * - `UPDATE_INVALID`: the community's rules do not let this author publish this update
 * - `RECIPE_MISMATCH`: a recipe is not what the log says
 * - `UPDATE_UNKNOWN`: no held or pending update has this id
 * - `RECIPE_UNKNOWN`: no known node offers this recipe
 * - `LISTEN_FAILED`: an address to listen on is wrong, in use or not of this machine
 * - `NETWORK_UNREACHABLE`: no peer could be reached
 * - `DAEMON_UNREACHABLE`: the daemon's control API does not answer
 * - `API_UNAUTHORIZED`: the control API was called without its token
 * - `API_BAD_REQUEST`: the control API was called with a malformed request
 * - `API_BUSY`: too many readers follow the node's events already
 * - `NOT_ALLOWED`: this home has not the key that the rules ask for
 * - `NO_SEALERS`: nobody can seal in this community
 * - `SEAL_STOPPED`: seals stand still here, because of an alarm or of records that are not here yet
 * - `OUT_EXISTS`: the output path exists
 * - `USAGE`: the command line is wrong
 * - `INTERRUPTED`: the user interrupted the command
 */
export type NodeErrorCode =
  | 'HOME_NOT_JOINED'
  | 'HOME_ALREADY_JOINED'
  | 'HOME_LOCKED'
  | 'HOME_INVALID'
  | 'HOME_NEWER'
  | 'KEY_INVALID'
  | 'BASE_MISMATCH'
  | 'CHARTER_MISMATCH'
  | 'OBJECT_CORRUPT'
  | 'BLOB_INVALID'
  | 'FOLD_FAILED'
  | 'WORKER_FAILED'
  | 'DECLINED'
  | 'VERIFY_FAILED'
  | 'UPDATE_INVALID'
  | 'RECIPE_MISMATCH'
  | 'UPDATE_UNKNOWN'
  | 'RECIPE_UNKNOWN'
  | 'LISTEN_FAILED'
  | 'NETWORK_UNREACHABLE'
  | 'DAEMON_UNREACHABLE'
  | 'API_UNAUTHORIZED'
  | 'API_BAD_REQUEST'
  | 'API_BUSY'
  | 'NOT_ALLOWED'
  | 'NO_SEALERS'
  | 'SEAL_STOPPED'
  | 'OUT_EXISTS'
  | 'USAGE'
  | 'INTERRUPTED';

export class NodeError extends KinmergeError<NodeErrorCode> {}
