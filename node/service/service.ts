import type { RunOptions } from '../../src/run-options.ts';
import type { Pulled, PullOptions } from '../checkpoint/pull.ts';
import type {
  AmendmentDocument,
  AmendRequest,
  ContributeDocument,
  ContributeRequest,
  DryRunDocument,
  NodeEvent,
  PeerDocument,
  RevokeDocument,
  RevokeRequest,
  RulesDocument,
  SealDocument,
  StatusDocument,
  UpdateDocument,
  WhyDocument,
} from './documents.ts';

/** What can be asked of a node, by whoever owns it: in its own process, or through the control API. */
export interface NodeService {
  status(): Promise<StatusDocument>;
  peers(): Promise<readonly PeerDocument[]>;
  /** Held updates in canonical order, then pending ones. */
  log(): Promise<readonly UpdateDocument[]>;
  /** @param id - an update id or a unique prefix of one. @throws NodeError `UPDATE_UNKNOWN` */
  show(id: string): Promise<UpdateDocument>;
  /** @throws NodeError `UPDATE_UNKNOWN` */
  why(id: string): Promise<WhyDocument>;
  /** @throws NodeError `DECLINED` with the `gates` in its fields when the own node declines it and `force` is not set */
  contribute(request: ContributeRequest, options?: RunOptions): Promise<ContributeDocument>;
  /** Copies the merged checkpoint of the current recipe, once it is folded, to a path of this machine. */
  pull(request: PullOptions, options?: RunOptions): Promise<Pulled>;
  /** The rules in effect, and what waits to change them. */
  rules(): Promise<RulesDocument>;
  /** Signs an amendment; it comes into effect at the next seal. @throws NodeError `NOT_ALLOWED`, `NO_SEALERS` */
  amend(request: AmendRequest): Promise<AmendmentDocument>;
  /** What limits and budgets would have decided otherwise; nothing changes. */
  dryRun(changes: AmendRequest['changes'], options?: RunOptions): Promise<DryRunDocument>;
  /** Takes an update out of the model. @throws NodeError `UPDATE_UNKNOWN`, `NOT_ALLOWED` */
  revoke(request: RevokeRequest): Promise<RevokeDocument>;
  /** Seals what no seal covers; null when there is nothing. @throws NodeError `NOT_ALLOWED`, `NO_SEALERS`, `SEAL_STOPPED` */
  seal(options?: RunOptions): Promise<SealDocument | null>;
  events(signal: AbortSignal): AsyncIterable<NodeEvent>;
}
