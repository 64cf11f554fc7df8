// Types of keyrack. No global of yours is touched, and neither the DOM's nor Node's types are needed.

/** An env: the second part of a slug. */
export type Env = 'sudo' | 'prod' | 'prep' | 'test' | 'all' | 'camp';

/** An env, completed by an editor and open to a word that is known at run time only; any but an {@link Env} ends in `bad_env`. */
export type EnvName = Env | (string & {});

/**
 * The keys your repository declares. Empty as it comes: then any text is a key's name. `keyrack types` writes a file that fills it from
 * `keyrack.yml`, so that names are completed and a misspelt one does not compile.
 *
 * @example
 * // keyrack-env.d.ts, as `keyrack types` writes it
 * import 'keyrack';
 * declare module 'keyrack' {
 *   interface KeyrackKeys {
 *     'API_KEY': 'prod' | 'test';
 *   }
 * }
 */
export interface KeyrackKeys {}

/** A slug in full: `org.env.NAME`. The org may be `@this`, that of `keyrack.yml`, or `@all`, this machine. */
export type KeySlug = `${string}.${Env}.${string}`;

/**
 * What names a key that is read: one that `keyrack.yml` declares, or a slug in full. Any text as long as {@link KeyrackKeys} is empty.
 * Text that is known at run time only goes in as a slug: `` `@this.test.${name}` ``.
 */
export type KeyName = [keyof KeyrackKeys] extends [never] ? string : Extract<keyof KeyrackKeys, string> | KeySlug;

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
  /** More to know, in a sentence. */
  note?: string;
}

/** The key was never set (`absent`), or is set and not unlocked (`locked`). */
export interface AttemptMissed {
  status: 'absent' | 'locked';
  /** The slug that was asked for. */
  slug: string;
  message: string;
  /** The command that mends it, complete, to be pasted into a shell. */
  fix: string | null;
  /** More to know, in a sentence. */
  note?: string;
  /** It may be absent: the variable that `is-optional-if-has` of its entry names is set. */
  waived?: true;
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
  /** More to know, in a sentence. */
  note?: string;
}

/** What came of asking for one key: `status` tells which of the three it is. */
export type Attempt<Secret = string> = AttemptGranted<Secret> | AttemptMissed | AttemptBlocked;

/** The words a command would print. */
export interface Emit {
  /** The tree of attempts, without a secret, and without ANSI unless `color` was asked for. */
  stdout: string;
}

// The well-known symbol of `using`, where your `lib` has one (`esnext.disposable`, or `@types/node`); nothing where it has none.
type DisposeSymbol = SymbolConstructor extends { readonly dispose: infer Dispose extends symbol } ? Dispose : never;

/** The method of `using`, where your `lib` knows it. */
export type DisposableWhereKnown = { [Method in DisposeSymbol]: () => void };

/** `[Symbol.dispose]()` is {@link ErasableSecret.erase}: `using secret = …` erases it at the end of the block. */
export interface ErasableSecret extends DisposableWhereKnown {}

/**
 * A secret that can be wiped. Printing one by accident (`console.log`, `JSON.stringify`, a template) shows nothing.
 *
 * @example
 * const { attempt } = getSync({ for: { key: 'API_KEY' }, env: 'test', as: 'buffer' });
 * if (attempt.status === 'granted') {
 *   using secret = attempt.grant.key.secret; // or call secret.erase() yourself
 *   sign(secret.bytes);
 * }
 */
export class ErasableSecret {
  private constructor();
  /** The secret itself, not a copy of it. Empty once erased. */
  readonly bytes: Uint8Array;
  /** Whether it has been erased. */
  readonly erased: boolean;
  /** Overwrites the bytes with zeros; every view of them sees the zeros. Copies you made, strings above all, are yours to mind. */
  erase(): void;
}

/** What every call takes. */
export interface OwnerOption {
  /** Whose rack: a name of lower-case letters, digits, `-` and `_`. Default: your own (`null`). */
  owner?: string | null | undefined;
}

/** How a reading call waits. */
export interface ReadOptions extends OwnerOption {
  /** How long the daemon may take to answer, in milliseconds; default 2000. Then the call fails with `daemon_unresponsive`. */
  timeoutMs?: number | undefined;
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
  prikey?: string | readonly string[] | null | undefined;
  /** Whether the terminal may be asked. `'never'` (default): a call that needs an answer fails with `prompt_needed`. `'tty'`: it asks there. */
  prompt?: 'never' | 'tty' | undefined;
  /** Withdraws the call: the child is ended and reaped, then the promise rejects with `aborted`. */
  signal?: Signal | undefined;
  /** After how many milliseconds the child is ended and the call fails with `timed_out`. Default: never. */
  timeoutMs?: number | undefined;
}

/** Whether long-lived tokens may pass. */
export interface AllowOption {
  /** `{ dangerous: true }` lets a value pass that looks like a long-lived token. */
  allow?: { dangerous?: boolean | undefined } | null | undefined;
}

/** One key, or every key that the repository's `keyrack.yml` declares. */
export type Scope = { repo: true; key?: never } | { key: KeyName; repo?: never };

/** How secrets are handed over; not given means `'string'`. */
export type SecretForm = 'string' | 'buffer' | undefined;

/** What {@link getSync} is asked. */
export interface GetSyncInput<For extends Scope = Scope, As extends SecretForm = SecretForm> extends ReadOptions, AllowOption {
  /** `{ key }`: a bare name or a full slug (`org.env.NAME`). `{ repo: true }`: every declared key of `env`. */
  for: For;
  /** Which env. Needed for a bare name that stands in several, and for `repo` when `keyrack.yml` has several. */
  env?: EnvName | null | undefined;
  /** The org of a key: `@this` (default, that of `keyrack.yml`), `@all` (this machine's), or its name. */
  org?: '@this' | '@all' | (string & {}) | null | undefined;
  /** How secrets are handed over: `'string'` (default), which can never be wiped, or `'buffer'`, an {@link ErasableSecret}. */
  as?: As;
  /** Whether `emit.stdout` has ANSI colors. Default false. */
  color?: boolean | undefined;
}

/** What {@link get} is asked. */
export interface GetInput<For extends Scope = Scope, As extends SecretForm = SecretForm> extends GetSyncInput<For, As>, Omit<ChangeOptions, 'timeoutMs' | 'owner'> {
  /** `{ unlock: true }` unlocks the keys found locked, and no others, then asks again. That runs the command in a child process. */
  with?: { unlock?: boolean | undefined } | null | undefined;
  /** As for every reading call; with `with.unlock` it is also after how many milliseconds the unlocking child is ended, by default never. */
  timeoutMs?: number | undefined;
}

type SecretAs<As> = [As] extends ['buffer'] ? ErasableSecret : [As] extends ['string' | undefined] ? string : string | ErasableSecret;

/** Something to know that is no failure: a malformed entry of `keyrack.yml`, a daemon that could not be asked, an older daemon. */
export interface Warning {
  code: KeyrackErrorCode;
  message: string;
  slug?: string;
  fix?: string;
  hint?: string;
}

/** What {@link get} and {@link getSync} answer: `attempt` for a key, `attempts` in the order of `keyrack.yml` for a repository. */
export type GetOutput<For extends Scope = Scope, As extends SecretForm = 'string'> = (For extends { repo: true }
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
 * The daemon is asked synchronously, which takes microseconds, and at most `timeoutMs` (milliseconds, default 2000).
 *
 * @throws {KeyrackError} such as `ambiguous_key`, `env_required`, `manifest_invalid`, `no_manifest`, `daemon_unresponsive`, `server_untrusted`;
 *   with `with.unlock` also what {@link unlock} rejects with.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const { attempt } = await get({ for: { key: 'API_KEY' }, env: 'test', with: { unlock: true } });
 * if (attempt.status !== 'granted') throw new Error(attempt.fix ?? attempt.status);
 * connect(attempt.grant.key.secret);
 * @example
 * const { attempts } = await get({ for: { repo: true }, env: 'test' });
 */
export function get<const For extends Scope, const As extends SecretForm = 'string'>(input: GetInput<For, As>): Promise<GetOutput<For, As>>;

/**
 * As {@link get}, at once; it cannot unlock.
 *
 * @throws {KeyrackError} such as `ambiguous_key`, `env_required`, `manifest_invalid`, `no_manifest`, `daemon_unresponsive`, `server_untrusted`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const { attempt } = getSync({ for: { key: 'API_KEY' }, env: 'test' });
 * const key = attempt.status === 'granted' ? attempt.grant.key.secret : undefined;
 */
export function getSync<const For extends Scope, const As extends SecretForm = 'string'>(input: GetSyncInput<For, As>): GetOutput<For, As>;

/** What {@link source} is asked. */
export interface SourceInput extends ReadOptions, AllowOption {
  /** Which env. */
  env: EnvName;
  /** One key, a bare name or a full slug, instead of every declared one. Needed for env `sudo`. */
  key?: KeyName | null | undefined;
  /** `'strict'` (default): a key that is not granted and not waived fails the call. `'lenient'`: it is left out. */
  mode?: 'strict' | 'lenient' | undefined;
  /** Whether a variable that is set, and that `source` did not set itself, is replaced. Default false. */
  override?: boolean | undefined;
  /**
   * What a strict failure does after its report on stderr. Default: `process.exit(2)` on the main thread, as test set-up files expect, but
   * `'throw'` in a worker thread and under vitest, where an exit would take more than the caller with it.
   */
  onFail?: 'exit' | 'throw' | undefined;
}

/** What {@link source} did, by variable name. */
export interface SourceOutput {
  /** Set by this call, or refreshed. */
  sourced: string[];
  /** Variables that keep their value: set before, or variables that no key may have, such as `PATH` or `UID`. */
  kept: string[];
  /** Not granted or too large, and not set. A variable an earlier `source` had set is removed when its key is gone. */
  missing: string[];
}

/**
 * Puts keys into `process.env`, named by what follows the second dot of their slug. Synchronous. A non-empty variable is kept unless
 * `override`, with a line on stderr if the daemon holds another value; one that an earlier `source` set is refreshed.
 *
 * Without a `keyrack.yml` there is nothing to source in lenient mode; in strict mode that is `no_manifest`.
 *
 * A strict failure ends the process with exit code 2 after a report on stderr, or throws: see {@link SourceInput.onFail}.
 *
 * @throws {KeyrackError} as {@link getSync}; a strict failure that throws has the code of the first failing key (`locked`, `absent` or
 *   `blocked`) and all failing `attempts`. `value_too_large` when a process could not hold the values.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * source({ env: 'test' }); // in the set-up file of a test runner
 * @example
 * const { missing } = source({ env: 'prep', owner: 'robot', mode: 'lenient' });
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
    /** Namespaces that callers may be in: `pid and user`, `pid only`, `user allowed` or `all allowed`. Absent from older daemons. */
    namespaces?: string;
    /** What secrets lie in: memory hidden even from the kernel, locked into RAM, or ordinary. */
    memory: 'secret' | 'locked' | 'unlocked';
    /** Its hardening as the kernel reports it. */
    hardening: { name: string; on: boolean; detail?: string }[];
  };
}

/**
 * What the daemon holds; `null` when none runs. Never a secret. Synchronous; the daemon gets `timeoutMs` (milliseconds, default 2000).
 *
 * @throws {KeyrackError} such as `daemon_unresponsive`, `server_untrusted`, `no_home`, `binding_missing`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * for (const { slug, ttlLeftMs } of status()?.keys ?? []) console.log(slug, ttlLeftMs);
 */
export function status(input?: ReadOptions & { /** Only keys of this env. */ env?: EnvName | null | undefined }): StatusOutput | null;

/**
 * Erases keys from the daemon: one (by full slug), those of an env, or all. What was not held is no error. Synchronous; when it returns, they are gone.
 *
 * @returns the slugs that were erased, sorted.
 * @throws {KeyrackError} such as `bad_slug`, `daemon_unresponsive`, `server_untrusted`, `binding_missing`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * relock({ key: 'acme.test.API_KEY' });
 * relock({ env: 'prod' });
 * relock();
 */
export function relock(input?: ReadOptions & { /** A full slug. */ key?: string | null | undefined; env?: EnvName | null | undefined }): { relocked: string[] };

/** A key that {@link unlock} left out. */
export interface Omitted {
  slug: string;
  reason: 'absent' | 'lost' | 'remote' | 'errored' | (string & {});
  /** The command that mends it, complete, to be pasted into a shell. */
  fix?: string;
  /** What went wrong, where something did. */
  cause?: { code: KeyrackErrorCode; message: string; fix?: string; hint?: string };
}

/** What {@link unlock} says of a key it unlocked: everything of its grant but the secret. */
export type Unlocked = Omit<Grant<never>, 'key'>;

/**
 * Opens vaults and hands keys to the daemon, starting it if need be. One bad key never stops the others: each ends unlocked or omitted with
 * its own cause, and the promise resolves. Runs the command in a child process.
 *
 * @throws {KeyrackError} such as `prompt_needed`, `host_manifest_missing`, `no_identity`, `key_not_found`, `timed_out`,
 *   `aborted`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const { unlocked, omitted } = await unlock({ env: 'test', duration: '30m' });
 * for (const { slug, reason, cause } of omitted) console.error(slug, reason, cause?.fix);
 */
export function unlock(
  input?: ChangeOptions & {
    env?: EnvName | null | undefined;
    /** One key, a bare name or a full slug; needed for env `sudo`. */
    key?: KeyName | null | undefined;
    /** `@this` (default): the org of `keyrack.yml`, and this machine's own keys beside it; `@all`: this machine's alone. */
    org?: '@this' | '@all' | (string & {}) | null | undefined;
    /** For how long, such as `'30m'` or `'9h'`. Default 9 h, for `sudo` 30 min; at most 24 h, for `sudo` 1 h. */
    duration?: string | null | undefined;
  },
): Promise<{ unlocked: Unlocked[]; omitted: Omitted[] }>;

/** What is recorded of a key that was set. */
export interface Host {
  slug: string;
  exid: string | null;
  vault: string;
  mech: string;
  env: string;
  org: string;
  /** Data of the vault; for os.secure, the version that the key's file is bound to. */
  meta: unknown;
  /** The longest it may be unlocked for, such as `'1h'`. */
  maxDuration: string | null;
  /** ISO 8601 in UTC. */
  createdAt: string;
  /** ISO 8601 in UTC. */
  updatedAt: string;
}

/** Result of {@link set}. */
export interface SetResult extends Host {
  /** Notices, a sentence each, such as a carriage return or outer white space in the secret. Absent if there are none. */
  notices?: string[];
}

/** What {@link set} is told, however the key is named. */
export interface SetOptions extends ChangeOptions, AllowOption {
  /**
   * The secret, passed to the command by stdin and stored byte for byte: a string as UTF-8, including a newline at its end. A secret of only
   * white space is refused as `empty_secret`. Without a secret, the command asks for it at the terminal under `prompt: 'tty'`, and for a `slug`
   * also where standard input is a terminal; otherwise the call fails with `prompt_needed`.
   */
  secret?: string | Uint8Array | ErasableSecret | undefined;
  /** Which vault, such as `os.secure`. */
  vault: KeyrackHostVault;
  /** How the secret is used, such as `PERMANENT_VIA_REPLICA`. A permanent one must be named. */
  mech?: KeyrackGrantMechanism | null | undefined;
  /** What the vault calls it, for vaults that keep a reference. */
  exid?: string | null | undefined;
  /** The longest it may be unlocked for, such as `'1h'`. */
  maxDuration?: string | null | undefined;
  /** The `keyrack.yml` to enter it in, relative to the repository's root. */
  at?: string | null | undefined;
}

/** {@link set} by name, in the repository you stand in, whose `keyrack.yml` says whose the key is. */
export interface SetByNameInput extends SetOptions {
  /** A bare name or a full slug. It need not be declared yet: `set` declares it. */
  key: string;
  slug?: never;
  env?: EnvName | null | undefined;
  org?: '@this' | '@all' | (string & {}) | null | undefined;
}

/** {@link set} by full slug, which works in a repository or without one. Where there is a `keyrack.yml`, the slug's org must be its. */
export interface SetBySlugInput extends SetOptions {
  /** `org.env.NAME`. */
  slug: string;
  key?: never;
}

/**
 * Puts a key into a vault, and, in a repository, declares it in `keyrack.yml`. Everything that can be refused is, before anything is stored. Runs the
 * command in a child process. It does not unlock: {@link unlock} does.
 *
 * @throws {KeyrackError} such as `mech_required`, `grade_degraded`, `below_declared`, `long_lived_token`, `empty_secret`, `host_manifest_missing`,
 *   `no_identity`, `prompt_needed`, `no_manifest`, `org_mismatch`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * await set({ key: 'API_KEY', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: token });
 * @example
 * const host = await set({ slug: 'acme.test.API_KEY', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: token });
 */
export function set(input: SetByNameInput | SetBySlugInput): Promise<SetResult>;

/** {@link del} by name, in the repository you stand in. */
export interface DelByNameInput extends ChangeOptions {
  /** A bare name or a full slug. */
  key: string;
  slug?: never;
  env?: EnvName | null | undefined;
  org?: '@this' | '@all' | (string & {}) | null | undefined;
}

/** {@link del} by full slug, in a repository or without one. */
export interface DelBySlugInput extends ChangeOptions {
  /** `org.env.NAME`. */
  slug: string;
  key?: never;
}

/** What {@link del} did. */
export interface DelOutput {
  slug: string;
  effect: 'deleted' | 'not_found';
  /** What was destroyed besides, at a vault that owned it. */
  destroyed?: { exid: string };
}

/**
 * Removes a key from its vault, from this machine's records, from the daemon and from `keyrack.yml`. That it was not there is no error. Runs the
 * command in a child process.
 *
 * @throws {KeyrackError} such as `no_manifest`, `ambiguous_key`, `vault_unsupported`, `no_identity`, `prompt_needed`.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const { effect } = await del({ key: 'API_KEY', env: 'test' });
 */
export function del(input: DelByNameInput | DelBySlugInput): Promise<DelOutput>;

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
  | 'repository_untrusted'
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
  | 'value_too_large'
  | 'credential_expired'
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
  | 'vault_mismatch'
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
  | 'kernel_too_old'
  | 'sandboxed'
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
  constructor(problem: {
    code: KeyrackErrorCode;
    message: string;
    exit?: number | undefined;
    slug?: string | undefined;
    fix?: string | undefined;
    hint?: string | undefined;
    attempts?: Attempt[] | undefined;
    detail?: string | undefined;
    cause?: unknown;
  });
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

/** Everything that acts, by one name. */
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
export default keyrack;

// ---- The names that users of `rhachet/keyrack` know ----

/** How a secret comes to be. Newer ones may appear. */
export type KeyrackGrantMechanism =
  | 'PERMANENT_VIA_REPLICA'
  | 'PERMANENT_VIA_REFERENCE'
  | 'EPHEMERAL_VIA_SESSION'
  | 'EPHEMERAL_VIA_GITHUB_APP'
  | 'EPHEMERAL_VIA_AWS_SSO'
  | 'EPHEMERAL_VIA_GITHUB_OIDC'
  | (string & {});

/** Where a secret rests. Newer ones may appear. */
export type KeyrackHostVault =
  | 'os.secure'
  | 'os.direct'
  | 'os.daemon'
  | 'os.envvar'
  | '1password'
  | 'aws.config'
  | 'aws.params'
  | 'github.secrets'
  | (string & {});

/** {@link Status}. */
export type KeyrackGrantStatus = Status;
/** {@link Attempt}, with its secret as a string. A plain object. */
export type KeyrackGrantAttempt = Attempt<string>;
/** {@link Grant}, with its secret as a string. A plain object. */
export type KeyrackKeyGrant = Grant<string>;
/** {@link Host}. A plain object. */
export type KeyrackKeyHost = Host;

/** What `keyrack.yml` declares of one key. A plain object. */
export interface KeyrackKeySpec {
  slug: string;
  /** Always `null`: no `keyrack.yml` names a mechanism. */
  mech: KeyrackGrantMechanism | null;
  env: string;
  name: string;
  /** The least grade that will do, on each axis; `null` where nothing is demanded. */
  grade: { protection: Grade['protection'] | null; duration: Grade['duration'] | null } | null;
  flags: {
    /** The variable whose presence excuses the absence of this key. */
    isOptionalIfHas: string | null;
  };
}

/** A repository's `keyrack.yml` with everything it extends. A plain object. */
export interface KeyrackRepoManifest {
  /** The file's absolute path. */
  uri: string;
  org: string;
  /** The envs that the file itself declares, without `all`. */
  envs: string[];
  /** The files it extends, directly or not. Not there when there are none. */
  extends?: string[];
  /** The declared keys by slug, in their order. */
  keys: Record<string, KeyrackKeySpec>;
}

/** What {@link formatKeyrackKeyBranch} draws: an attempt, or what {@link unlock} says of a key. */
export type KeyrackKeyBranchEntry = Attempt<unknown> | Unlocked | Omitted;

/**
 * The lines of one key's branch in a tree, without line breaks, as every command draws it. Never the secret. Works without the native part.
 *
 * @example
 * for (const line of formatKeyrackKeyBranch({ entry: attempt, isLast: true })) console.log(line);
 */
export function formatKeyrackKeyBranch(input: { entry: KeyrackKeyBranchEntry; isLast?: boolean | undefined; /** ANSI colors. Default false. */ color?: boolean | undefined }): string[];

/**
 * The tree of one attempt, as in `emit.stdout` of {@link get}. Never the secret. Works without the native part.
 *
 * @example
 * process.stderr.write(formatKeyrackGetOneOutput({ attempt }));
 */
export function formatKeyrackGetOneOutput(input: { attempt: Attempt<unknown>; /** ANSI colors. Default false. */ color?: boolean | undefined }): string;

/**
 * The tree of several attempts, as in `emit.stdout` of {@link get}. Never the secret. Works without the native part.
 *
 * @example
 * const locked = attempts.filter(({ status }) => status === 'locked');
 * process.stderr.write(formatKeyrackGetAllOutput({ attempts: locked }));
 */
export function formatKeyrackGetAllOutput(input: { attempts: readonly Attempt<unknown>[]; /** ANSI colors. Default false. */ color?: boolean | undefined }): string;

/** Which repository, and whose rack: what {@link getKeyrackKeyGrant} reads by. A plain object; it holds nothing open. */
export interface ContextKeyrackGrantGet {
  owner: string | null;
  /** The repository's root; `null` for none, where keys are asked for by full slug. */
  gitroot: string | null;
  /** What its `keyrack.yml` declares; `null` where there is none. */
  repoManifest: KeyrackRepoManifest | null;
}

/**
 * Makes a context: reads `keyrack.yml` below `gitroot`, and nothing else. It decrypts nothing and asks nobody.
 *
 * @throws {KeyrackError} `manifest_invalid`; `binding_missing` where there is no native part and the file is not in its plain form.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const context = await genContextKeyrackGrantGet({ gitroot: process.cwd(), owner: 'robot' });
 * const slugs = Object.keys(context.repoManifest?.keys ?? {});
 */
export function genContextKeyrackGrantGet(input: { gitroot: string | null; owner: string | null }): Promise<ContextKeyrackGrantGet>;

/**
 * Reads keys by a context, from the daemon, then from `process.env`, as {@link get} does: one, or each of `slugs` in their order.
 *
 * @throws {KeyrackError} as {@link getSync}.
 * @throws {TypeError} for an argument of a wrong type, naming it.
 * @example
 * const attempt = await getKeyrackKeyGrant({ for: { key: 'acme.test.API_KEY' } }, context);
 * const attempts = await getKeyrackKeyGrant({ for: { repo: true }, slugs }, context);
 */
export function getKeyrackKeyGrant(
  input: AllowOption & { for: { key: string; repo?: never }; env?: EnvName | null | undefined; org?: '@this' | '@all' | (string & {}) | null | undefined },
  context: Pick<ContextKeyrackGrantGet, 'owner' | 'gitroot'>,
): Promise<KeyrackGrantAttempt>;
export function getKeyrackKeyGrant(
  input: AllowOption & { for: { repo: true; key?: never }; /** Full slugs. */ slugs: readonly string[]; /** Not needed: each slug names its own. */ env?: EnvName | null | undefined },
  context: Pick<ContextKeyrackGrantGet, 'owner' | 'gitroot'>,
): Promise<KeyrackGrantAttempt[]>;
