/// <reference lib="esnext.disposable" />

/** An env: the second part of a slug. */
export type Env = 'sudo' | 'prod' | 'prep' | 'test' | 'all' | 'camp';

/** What came of asking for one key. */
export type Status = 'granted' | 'absent' | 'locked' | 'blocked';

/** How strong a key is, on both axes. `reference` and `transient` are the strongest. */
export interface Grade {
  protection: 'reference' | 'encrypted' | 'plaintext';
  duration: 'transient' | 'ephemeral' | 'permanent';
}

/** Where a granted key came from. */
export interface Source {
  /** The vault it rests in, such as `os.secure`; `os.envvar` for a value of the environment. Newer vaults may appear. */
  vault: string;
  /** How its secret came to be, such as `PERMANENT_VIA_REPLICA`. Newer mechanisms may appear. */
  mech: string;
}

/** An unlocked key with its secret. */
export interface Grant<Secret = string> {
  /** The key's true slug: `org.all.NAME` when it was found in env `all`. */
  slug: string;
  key: { secret: Secret; grade: Grade };
  source: Source;
  /** The env of `slug`. */
  env: string;
  /** The org of `slug`. */
  org: string;
  /** When the key ends, ISO 8601 in UTC. Not there for a value of the environment. */
  expiresAt?: string;
}

/** The key is there. */
export interface AttemptGranted<Secret = string> {
  status: 'granted';
  grant: Grant<Secret>;
  /** The key is weaker than `keyrack.yml` demands, and came from the environment, which is outside keyrack's custody. */
  belowDeclared?: true;
}

/** The key was never set (`absent`), or is set and not unlocked (`locked`). */
export interface AttemptMissed {
  status: 'absent' | 'locked';
  /** The slug that was asked for. */
  slug: string;
  message: string;
  /** The command that mends it, complete, to be pasted into a shell. */
  fix: string | null;
}

/** The key is there and a rule holds it back. */
export interface AttemptBlocked {
  status: 'blocked';
  /** The slug that was asked for. */
  slug: string;
  /** Why, a sentence each; never the secret. */
  reasons: string[];
  /** The command that mends it, complete, to be pasted into a shell. */
  fix: string | null;
}

/** What came of asking for one key. */
export type Attempt<Secret = string> = AttemptGranted<Secret> | AttemptMissed | AttemptBlocked;

/** The words a command would print. */
export interface Emit {
  /** The tree of attempts, without a secret, and without ANSI unless `color` was asked for. */
  stdout: string;
}

/** A secret that can be wiped. Printing one by accident (`console.log`, `JSON.stringify`, a template) shows nothing. */
export class ErasableSecret {
  private constructor();
  /** The secret itself, not a copy of it. Empty once erased. */
  readonly bytes: Uint8Array;
  /** Whether it has been erased. */
  readonly erased: boolean;
  /** Overwrites the bytes with zeros; every view of them sees the zeros. Copies you made, strings above all, are yours to mind. */
  erase(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

/** What every call takes. */
export interface OwnerOption {
  /** Whose rack: a name of lower-case letters, digits, `-` and `_`. Default: your own (`null`). */
  owner?: string | null;
}

/** How a reading call waits. */
export interface ReadOptions extends OwnerOption {
  /** How long the daemon may take to answer, in milliseconds; default 2000. Then the call fails with `daemon_unresponsive`. */
  timeoutMs?: number;
}

/** What is needed of an `AbortSignal`, the web's or Node's. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** How a changing call, which runs the command in a child process, is bounded. */
export interface ChangeOptions extends OwnerOption {
  /** Files of ssh or age private keys to open vaults with, before those found in the usual places. */
  prikey?: string | readonly string[];
  /** Whether the terminal may be asked. `'never'` (default): a call that needs an answer fails with `prompt_needed`. `'tty'`: it asks there. */
  prompt?: 'never' | 'tty';
  /** Withdraws the call: the child is ended and reaped, then the promise rejects with `aborted`. */
  signal?: Signal;
  /** After how many milliseconds the child is ended and the call fails with `timed_out`. Default: never. */
  timeoutMs?: number;
}

/** Whether long-lived tokens may pass. */
export interface AllowOption {
  /** `{ dangerous: true }` lets a value pass that looks like a long-lived token. */
  allow?: { dangerous?: boolean };
}

/** One key, or every key that the repository's `keyrack.yml` declares. */
export type Scope = { repo: true; key?: never } | { key: string; repo?: never };

/** What {@link getSync} is asked. */
export interface GetSyncInput<For extends Scope = Scope, As extends 'string' | 'buffer' = 'string' | 'buffer'> extends ReadOptions, AllowOption {
  /** `{ key }`: a bare name or a full slug (`org.env.NAME`). `{ repo: true }`: every declared key of `env`. */
  for: For;
  /** Which env. Needed for a bare name that stands in several, and for `repo` when `keyrack.yml` has several. */
  env?: string;
  /** The org of a key: `@this` (default, that of `keyrack.yml`), `@all` (this machine's), or its name. */
  org?: string;
  /** How secrets are handed over: `'string'` (default), which can never be wiped, or `'buffer'`, an {@link ErasableSecret}. */
  as?: As;
  /** Whether `emit.stdout` has ANSI colours. Default false. */
  color?: boolean;
}

/** What {@link get} is asked. */
export interface GetInput<For extends Scope = Scope, As extends 'string' | 'buffer' = 'string' | 'buffer'> extends GetSyncInput<For, As>, Omit<ChangeOptions, 'timeoutMs' | 'owner'> {
  /** `{ unlock: true }` unlocks the keys found locked, and no others, then asks again. That runs the command in a child process. */
  with?: { unlock?: boolean };
  /** As for every reading call; with `with.unlock` it is also after how many milliseconds the unlocking child is ended, by default never. */
  timeoutMs?: number;
}

type SecretAs<As> = [As] extends ['buffer'] ? ErasableSecret : [As] extends ['string'] ? string : string | ErasableSecret;

/** Something to know that is no failure: a malformed entry of `keyrack.yml`, a daemon that could not be asked, an older daemon. */
export interface Warning {
  code: KeyrackErrorCode;
  message: string;
  slug?: string;
  fix?: string;
  hint?: string;
}

/** What {@link get} and {@link getSync} answer: `attempt` for a key, `attempts` in the order of `keyrack.yml` for a repository. */
export type GetOutput<For extends Scope = Scope, As extends 'string' | 'buffer' = 'string'> = (For extends { repo: true }
  ? { attempts: Attempt<SecretAs<As>>[] }
  : { attempt: Attempt<SecretAs<As>> }) & {
  emit: Emit;
  /** Only there when there is one. */
  warnings?: Warning[];
};

/**
 * Gets keys: from the daemon of this login session, then from `process.env`. Never prompts, opens no vault and starts no daemon, unless
 * `with.unlock` asks for it. A key's status never rejects; a wrong ask, a malformed `keyrack.yml` or a fault does.
 *
 * The daemon is asked synchronously, which takes microseconds, and at most `timeoutMs`.
 *
 * @throws {KeyrackError} such as `ambiguous_key`, `env_required`, `manifest_invalid`, `no_manifest`, `daemon_unresponsive`, `server_untrusted`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 */
export function get<const For extends Scope, const As extends 'string' | 'buffer' = 'string'>(input: GetInput<For, As>): Promise<GetOutput<For, As>>;

/** As {@link get}, at once; it cannot unlock. */
export function getSync<const For extends Scope, const As extends 'string' | 'buffer' = 'string'>(input: GetSyncInput<For, As>): GetOutput<For, As>;

/** What {@link source} is asked. */
export interface SourceInput extends ReadOptions, AllowOption {
  /** Which env. */
  env: string;
  /** One key, a bare name or a full slug, instead of every declared one. */
  key?: string;
  /** `'strict'` (default): a key that is not granted and not waived fails the call. `'lenient'`: it is left out. */
  mode?: 'strict' | 'lenient';
  /** Whether a variable that is set, and that `source` did not set itself, is replaced. Default false. */
  override?: boolean;
  /**
   * What a strict failure does after its report on stderr. Default: `process.exit(2)` on the main thread, as test set-up files expect, but
   * `'throw'` in a worker thread and under vitest, where an exit would take more than the caller with it.
   */
  onFail?: 'exit' | 'throw';
}

/** What {@link source} did, by variable name. */
export interface SourceOutput {
  /** Set by this call, or refreshed. */
  sourced: string[];
  /** Set before and left as they were. */
  kept: string[];
  /** Not granted, and not set. A variable an earlier `source` had set is removed when its key is gone. */
  missing: string[];
}

/**
 * Puts keys into `process.env`, named by what follows the second dot of their slug. Synchronous. A non-empty variable is kept unless
 * `override`, with a line on stderr if the daemon holds another value; one that an earlier `source` set is refreshed.
 *
 * Without a `keyrack.yml` there is nothing to source in lenient mode; in strict mode that is `no_manifest`.
 *
 * @throws {KeyrackError} as {@link get}; a strict failure that throws has the code of the first failing key (`locked`, `absent` or
 *   `blocked`) and all failing `attempts`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 */
export function source(input: SourceInput): SourceOutput;

/** A key the daemon holds. */
export interface HeldKey {
  slug: string;
  env: string;
  org: string;
  /** When it ends, ISO 8601 in UTC; `null` for a key of an older daemon that does not end. */
  expiresAt: string | null;
  /** What is left of its life, in milliseconds. */
  ttlLeftMs: number | null;
  /** The life it was given when it was unlocked, in milliseconds. Not there from an older daemon, which does not tell. */
  lifeMs?: number;
  /** What limited that life. Not there from an older daemon, and where nobody has said. */
  lifeBy?: 'asked' | 'default' | 'max_duration' | 'credential' | 'ceiling' | (string & {});
  /** Not there from an older daemon, which does not tell. */
  grade?: Grade;
  /** Not there from an older daemon, which does not tell. */
  source?: Source;
}

/** What {@link status} answers. */
export interface StatusOutput {
  /** The keys held, in the order they were unlocked. */
  keys: HeldKey[];
  owner: string | null;
  socketPath: string;
  /** Whether the daemon is that of an older TypeScript keyrack. */
  legacy: boolean;
  /** Other login sessions of yours in which the same rack is open. */
  otherSessions: string[];
  /** What the daemon says of itself. Not there from an older one. */
  daemon?: {
    version: string;
    build: string;
    pid: number;
    proto: number;
    /** How far it tells callers apart: by login session, or by user only where the kernel has no sessions. */
    boundary: 'session' | 'user';
    /** What secrets lie in: memory hidden even from the kernel, locked into RAM, or ordinary. */
    memory: 'secret' | 'locked' | 'unlocked';
    /** Its hardening as the kernel reports it. */
    hardening: { name: string; on: boolean; detail?: string }[];
  };
}

/** What the daemon holds; `null` when none runs. Never a secret. */
export function status(input?: ReadOptions & { /** Only keys of this env. */ env?: string }): StatusOutput | null;

/**
 * Erases keys from the daemon: one (by full slug), those of an env, or all. What was not held is no error.
 *
 * @returns the slugs that were erased, sorted.
 */
export function relock(input?: ReadOptions & { /** A full slug. */ key?: string; env?: string }): { relocked: string[] };

/** A key that {@link unlock} left out. */
export interface Omitted {
  slug: string;
  reason: 'absent' | 'lost' | 'remote' | 'errored' | (string & {});
  cause?: { code: string; message: string; fix?: string };
}

/**
 * Opens vaults and hands keys to the daemon, starting it if need be. One bad key never stops the others: each ends unlocked or omitted with
 * its own cause.
 */
export function unlock(
  input?: ChangeOptions & {
    env?: string;
    /** One key, a bare name or a full slug; needed for env `sudo`. */
    key?: string;
    /** For how long, such as `'30m'` or `'9h'`. Default 9 h, for `sudo` 30 min; at most 24 h, for `sudo` 1 h. */
    duration?: string;
  },
): Promise<{ unlocked: Omit<Grant<never>, 'key'>[]; omitted: Omitted[] }>;

/** What is recorded of a key that was set. */
export interface Host {
  slug: string;
  exid: string | null;
  vault: string;
  mech: string;
  env: string;
  org: string;
  meta: unknown;
  maxDuration: string | null;
  createdAt: string;
  updatedAt: string;
}

/** Puts a key into a vault. Works in a git repository. */
export function set(
  input: ChangeOptions &
    AllowOption & {
      /** A bare name or a full slug. */
      key: string;
      /** What to keep, handed to the command by stdin. Without one, a vault that needs one asks at the terminal (`prompt: 'tty'`). */
      secret?: string | Uint8Array | ErasableSecret;
      /** Which vault, such as `os.secure`. */
      vault: string;
      /** How the secret is used, such as `PERMANENT_VIA_REPLICA`. A permanent one must be named. */
      mech?: string;
      env?: string;
      org?: string;
      /** What the vault calls it, for vaults that keep a reference. */
      exid?: string;
      /** The longest it may be unlocked for, such as `'1h'`. */
      maxDuration?: string;
      /** The `keyrack.yml` to enter it in, relative to the repository's root. */
      at?: string;
    },
): Promise<Host>;

/** Removes a key from its vault and from this machine's records. That it was not there is no error. */
export function del(input: ChangeOptions & { /** A bare name or a full slug. */ key: string; env?: string; org?: string }): Promise<{
  slug: string;
  effect: 'deleted' | 'not_found';
  destroyed?: { exid: string };
}>;

/** What a {@link KeyrackError} can be about. The list grows: a code of a newer daemon comes as it is. */
export type KeyrackErrorCode =
  | 'usage'
  | 'bad_slug'
  | 'bad_env'
  | 'bad_org'
  | 'bad_owner'
  | 'bad_key_name'
  | 'bad_duration'
  | 'bad_vault'
  | 'bad_mech'
  | 'duration_above_ceiling'
  | 'org_mismatch'
  | 'env_conflict'
  | 'env_required'
  | 'ambiguous_key'
  | 'key_not_found'
  | 'no_manifest'
  | 'manifest_invalid'
  | 'out_of_date'
  | 'not_a_repo'
  | 'sudo_needs_key'
  | 'locked'
  | 'absent'
  | 'blocked'
  | 'long_lived_token'
  | 'grade_degraded'
  | 'below_declared'
  | 'mech_required'
  | 'mech_mismatch'
  | 'empty_secret'
  | 'secret_too_large'
  | 'host_manifest_missing'
  | 'host_manifest_invalid'
  | 'no_identity'
  | 'bad_passphrase'
  | 'bad_key_file'
  | 'recipient_exists'
  | 'recipient_not_found'
  | 'last_recipient'
  | 'bad_recipient'
  | 'vault_read_only'
  | 'vault_write_only'
  | 'vault_unsupported'
  | 'not_available'
  | 'lost'
  | 'vault_corrupt'
  | 'prompt_needed'
  | 'no_home'
  | 'runtime_dir_missing'
  | 'runtime_dir_unsafe'
  | 'socket_path_too_long'
  | 'socket_path_taken'
  | 'daemon_absent'
  | 'daemon_unresponsive'
  | 'daemon_incompatible'
  | 'daemon_legacy'
  | 'daemon_start_failed'
  | 'server_untrusted'
  | 'session_mismatch'
  | 'boundary_weak'
  | 'proc_hidden'
  | 'traced'
  | 'memory_unavailable'
  | 'memory_full'
  | 'bad_frame'
  | 'bad_request'
  | 'too_large'
  | 'unknown_op'
  | 'file_unsafe'
  | 'timed_out'
  | 'aborted'
  | 'io'
  | 'internal'
  | 'command_failed'
  | 'binding_missing'
  | 'unsupported_platform'
  | 'interrupted'
  | (string & {});

/** The one error keyrack throws for anything but an argument of a wrong type. Its words hold no secret. */
export class KeyrackError extends Error {
  constructor(problem: { code: string; message: string; exit?: number; slug?: string; fix?: string; hint?: string; attempts?: Attempt[]; detail?: string; cause?: unknown });
  readonly name: 'KeyrackError';
  /** What programs act on. */
  readonly code: KeyrackErrorCode;
  /** The exit code of a command that ends with it: 2 the caller must act, 1 a fault, 130 interrupted. */
  readonly exit: number;
  /** The key it happened to. */
  readonly slug?: string;
  /** The command that mends it, complete, to be pasted into a shell. */
  readonly fix?: string;
  /** The attempts that failed, without secrets. */
  readonly attempts?: Attempt[];
  /** What the command said on stderr, the end of it. */
  readonly detail?: string;
  /** More to know. */
  readonly metadata: { hint?: string };
}

/** Everything by one name. */
export const keyrack: {
  get: typeof get;
  getSync: typeof getSync;
  source: typeof source;
  status: typeof status;
  relock: typeof relock;
  unlock: typeof unlock;
  set: typeof set;
  del: typeof del;
};
