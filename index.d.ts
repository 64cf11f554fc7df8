// Types of keyrack. They change no global and need neither the DOM's nor Node's types.

/** Env: the second part of a slug. */
export type Env = 'sudo' | 'prod' | 'prep' | 'test' | 'all' | 'camp';

/**
 * Name of an env. Editors complete it, and it accepts text that is known only at run time; anything
 * but an {@link Env} fails with `bad_env`.
 */
export type EnvName = Env | (string & {});

/**
 * Keys that your repository declares. Empty by default, so that any text is a key's name.
 * `keyrack types` writes a file that fills it from `keyrack.yml`: then editors complete names, and
 * a misspelled one does not compile.
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

/**
 * Full slug: `org.env.NAME`. The org can be `@this` (that of `keyrack.yml`) or `@all` (this
 * machine).
 */
export type KeySlug = `${string}.${Env}.${string}`;

/**
 * Name of a key to read: one that `keyrack.yml` declares, or a full slug. Any text while
 * {@link KeyrackKeys} is empty. Pass text that is known only at run time as a slug: ``
 * `@this.test.${name}` ``.
 */
export type KeyName = [keyof KeyrackKeys] extends [never] ? string : Extract<keyof KeyrackKeys, string> | KeySlug;

/** Result of reading one key. */
export type Status = 'granted' | 'absent' | 'locked' | 'blocked';

/** Strength of a key on both axes. `reference` and `transient` are the strongest. */
export interface Grade {
  protection: 'reference' | 'encrypted' | 'plaintext';
  duration: 'transient' | 'ephemeral' | 'permanent';
}

/** Origin of a granted key. */
export interface Source {
  /**
   * Vault that stores it, such as `os.secure`; `os.envvar` for a value of the environment. Later
   * versions may add vaults.
   */
  vault: string;
  /**
   * Mechanism that made its secret, such as `PERMANENT_VIA_REPLICA`. Later versions may add
   * mechanisms.
   */
  mech: string;
}

/** An unlocked key with its secret. */
export interface Grant<Secret = string> {
  /** Slug of the key that was found: `org.all.NAME` if it was found in env `all`. */
  slug: string;
  key: { secret: Secret; grade: Grade };
  source: Source;
  /** The env of `slug`. */
  env: string;
  /** The org of `slug`. */
  org: string;
  /** Time at which the key expires, ISO 8601 in UTC. Absent for a value of the environment. */
  expiresAt?: string;
}

/** Attempt that was granted. */
export interface AttemptGranted<Secret = string> {
  status: 'granted';
  grant: Grant<Secret>;
  /**
   * Set if the key is weaker than the minimum grade in `keyrack.yml` and came from the
   * environment, which keyrack does not control.
   */
  belowDeclared?: true;
  /** Additional information, in one sentence. */
  note?: string;
}

/** Attempt at a key that was never set (`absent`), or is set but not unlocked (`locked`). */
export interface AttemptMissed {
  status: 'absent' | 'locked';
  /** Slug that was requested. */
  slug: string;
  message: string;
  /** Complete command that fixes it, ready to paste into a shell. */
  fix: string | null;
  /** Additional information, in one sentence. */
  note?: string;
  /** Set if the key may be absent, because the variable named by `is-optional-if-has` is set. */
  waived?: true;
}

/** Attempt at a key that exists but that a rule blocks. */
export interface AttemptBlocked {
  status: 'blocked';
  /** Slug that was requested. */
  slug: string;
  /** Reasons, one sentence each; never the secret. */
  reasons: string[];
  /** Complete command that fixes it, ready to paste into a shell. */
  fix: string | null;
  /** Additional information, in one sentence. */
  note?: string;
}

/** Result of reading one key; `status` tells them apart. */
export type Attempt<Secret = string> = AttemptGranted<Secret> | AttemptMissed | AttemptBlocked;

/** Text that a command would print. */
export interface Emit {
  /**
   * Tree of the attempts, without secrets, and without ANSI colors unless `color` is set. Rendered
   * when it is first read.
   */
  stdout: string;
}

// Well-known symbol of `using`, if your `lib` has one (`esnext.disposable`, or `@types/node`).
type DisposeSymbol = SymbolConstructor extends { readonly dispose: infer Dispose extends symbol } ? Dispose : never;

/** Method of `using`, if your `lib` declares it. */
export type DisposableWhereKnown = { [Method in DisposeSymbol]: () => void };

/**
 * `[Symbol.dispose]()` is {@link ErasableSecret.erase}: `using secret = …` erases it at the end of
 * the block.
 */
export interface ErasableSecret extends DisposableWhereKnown {}

/**
 * Secret that can be wiped. Printing it by accident (`console.log`, `JSON.stringify`, a template)
 * does not show it.
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
  /** The secret itself, not a copy. Empty once erased. */
  readonly bytes: Uint8Array;
  /** `true` once erased. */
  readonly erased: boolean;
  /**
   * Overwrites the bytes with zeros, in every view of them. It cannot erase copies that you made,
   * such as strings.
   */
  erase(): void;
}

/** Option of every call. */
export interface OwnerOption {
  /**
   * Owner of the rack: a name of letters, digits, `_`, `-` and single dots that begins with a
   * letter or digit. Default: the owner without a name (`null`).
   */
  owner?: string | null | undefined;
}

/** Options of every call that reads. */
export interface ReadOptions extends OwnerOption {
  /**
   * Time that the daemon may take to answer, in milliseconds; default 2000. Then the call fails
   * with `daemon_unresponsive`, and further reads with the same or a shorter timeout fail at once
   * for 5 s.
   */
  timeoutMs?: number | undefined;
}

/** The part of an `AbortSignal`, the web's or Node's, that keyrack uses. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Options of every call that runs the command in a child process. */
export interface ChangeOptions extends OwnerOption {
  /** Private key files (ssh or age) that open vaults, tried before those in the usual places. */
  prikey?: string | readonly string[] | null | undefined;
  /**
   * `'never'` (default): a call that needs an answer fails with `prompt_needed`. `'tty'`: it asks
   * at the terminal.
   */
  prompt?: 'never' | 'tty' | undefined;
  /** Aborts the call: the child is stopped and reaped, then the promise rejects with `aborted`. */
  signal?: Signal | undefined;
  /**
   * Time after which the child is stopped and the call fails with `timed_out`, in milliseconds.
   * Default: never.
   */
  timeoutMs?: number | undefined;
}

/** Option to accept long-lived tokens. */
export interface AllowOption {
  /** `{ dangerous: true }` accepts a value that looks like a long-lived token. */
  allow?: { dangerous?: boolean | undefined } | null | undefined;
}

/** One key, or every key that the repository's `keyrack.yml` declares. */
export type Scope = { repo: true; key?: never } | { key: KeyName; repo?: never };

/** Form of the secrets; default `'string'`. */
export type SecretForm = 'string' | 'buffer' | undefined;

/** Input of {@link getSync}. */
export interface GetSyncInput<For extends Scope = Scope, As extends SecretForm = SecretForm> extends ReadOptions, AllowOption {
  /**
   * `{ key }`: a bare name or a full slug (`org.env.NAME`). `{ repo: true }`: every declared key of
   * `env`.
   */
  for: For;
  /**
   * Env. Required for a bare name that several envs declare, and for `repo` if `keyrack.yml` has
   * several envs.
   */
  env?: EnvName | null | undefined;
  /**
   * Org of the key: `@this` (default, that of `keyrack.yml`), `@all` (this machine's), or a name.
   */
  org?: '@this' | '@all' | (string & {}) | null | undefined;
  /**
   * Form of the secrets: `'string'` (default), which cannot be wiped, or `'buffer'`, an
   * {@link ErasableSecret}.
   */
  as?: As;
  /** ANSI colors in `emit.stdout`. Default false. */
  color?: boolean | undefined;
}

/** Input of {@link get}. */
export interface GetInput<For extends Scope = Scope, As extends SecretForm = SecretForm> extends GetSyncInput<For, As>, Omit<ChangeOptions, 'timeoutMs' | 'owner'> {
  /**
   * `{ unlock: true }` unlocks the requested keys that are locked, then reads again. It runs the
   * command in a child process.
   */
  with?: { unlock?: boolean | undefined } | null | undefined;
  /**
   * As for every call that reads. With `with.unlock` also the time after which the unlocking child
   * is stopped; default never.
   */
  timeoutMs?: number | undefined;
}

type SecretAs<As> = [As] extends ['buffer'] ? ErasableSecret : [As] extends ['string' | undefined] ? string : string | ErasableSecret;

/**
 * Warning that is not a failure: a malformed entry of `keyrack.yml`, a daemon that could not be
 * read from, an older daemon.
 */
export interface Warning {
  code: KeyrackErrorCode;
  message: string;
  slug?: string;
  fix?: string;
  hint?: string;
}

/**
 * Result of {@link get} and {@link getSync}: `attempt` for a key, `attempts` in the order of
 * `keyrack.yml` for a repository.
 */
export type GetOutput<For extends Scope = Scope, As extends SecretForm = 'string'> = (For extends { repo: true }
  ? { attempts: Attempt<SecretAs<As>>[] }
  : { attempt: Attempt<SecretAs<As>> }) & {
  emit: Emit;
  /** Absent if there are none. */
  warnings?: Warning[];
};

/**
 * Reads keys from the daemon of this login session, then from `process.env`. Never prompts, opens a
 * vault or starts a daemon unless `with.unlock` is set. A missing or locked key is returned as a
 * status, not thrown.
 *
 * The read itself is synchronous: it takes microseconds, and at most `timeoutMs`. Between reads the
 * verified connection and the parsed `keyrack.yml` are kept, as long as nothing has changed; the
 * connection is closed after 30 s without a read.
 *
 * @throws {KeyrackError} `ambiguous_key`, `env_required`, `manifest_invalid`, `no_manifest`,
 *   `daemon_unresponsive`, `server_untrusted`, …; with `with.unlock` also the codes of
 *   {@link unlock}
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const { attempt } = await get({ for: { key: 'API_KEY' }, env: 'test', with: { unlock: true } });
 * if (attempt.status !== 'granted') throw new Error(attempt.fix ?? attempt.status);
 * connect(attempt.grant.key.secret);
 * @example
 * const { attempts } = await get({ for: { repo: true }, env: 'test' });
 */
export function get<const For extends Scope, const As extends SecretForm = 'string'>(input: GetInput<For, As>): Promise<GetOutput<For, As>>;

/**
 * Reads keys like {@link get}, synchronously. It cannot unlock.
 *
 * @throws {KeyrackError} `ambiguous_key`, `env_required`, `manifest_invalid`, `no_manifest`,
 *   `daemon_unresponsive`, `server_untrusted`, …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const { attempt } = getSync({ for: { key: 'API_KEY' }, env: 'test' });
 * const key = attempt.status === 'granted' ? attempt.grant.key.secret : undefined;
 */
export function getSync<const For extends Scope, const As extends SecretForm = 'string'>(input: GetSyncInput<For, As>): GetOutput<For, As>;

/** Input of {@link source}. */
export interface SourceInput extends ReadOptions, AllowOption {
  /** Env of the keys. */
  env: EnvName;
  /**
   * One key, by its bare name or full slug, instead of every declared key. Required for env `sudo`.
   */
  key?: KeyName | null | undefined;
  /**
   * `'strict'` (default): a key that is neither granted nor waived fails the call. `'lenient'`: it
   * is left out.
   */
  mode?: 'strict' | 'lenient' | undefined;
  /** Replace variables that are set and that `source` did not set itself. Default false. */
  override?: boolean | undefined;
  /**
   * Effect of a strict failure. `'exit'`: prints a report on stderr and calls `process.exit(2)`;
   * the default on the main thread, as test set-up files expect. `'throw'`: the default in a worker
   * thread and under vitest, where an exit would end more than the caller.
   */
  onFail?: 'exit' | 'throw' | undefined;
}

/** Result of {@link source}, by variable name. */
export interface SourceOutput {
  /** Variables that this call set or refreshed. */
  sourced: string[];
  /**
   * Variables that keep their value: those that were set, and those that no key may set, such as
   * `PATH` or `UID`.
   */
  kept: string[];
  /**
   * Keys that were not granted or are too large. A variable that an earlier `source` set is removed
   * if its key is gone.
   */
  missing: string[];
}

/**
 * Sets variables of `process.env` to keys, synchronously. A variable has the name that follows the
 * second dot of the slug. A variable that is not empty is kept unless `override` is set, with a
 * line on stderr if the daemon holds another value; one that an earlier `source` set is refreshed.
 *
 * Without a `keyrack.yml`, lenient mode sets nothing and strict mode fails with `no_manifest`.
 *
 * A strict failure prints a report on stderr and ends the process with exit code 2, or throws: see
 * {@link SourceInput.onFail}.
 *
 * @throws {KeyrackError} codes of {@link getSync}, and `value_too_large`. A strict failure that
 *   throws has the code of the first key that failed (`locked`, `absent` or `blocked`) and all
 *   `attempts` that failed.
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * source({ env: 'test' }); // in the set-up file of a test runner
 * @example
 * const { missing } = source({ env: 'prep', owner: 'robot', mode: 'lenient' });
 */
export function source(input: SourceInput): SourceOutput;

/** Key that the daemon holds. */
export interface HeldKey {
  slug: string;
  env: string;
  org: string;
  /**
   * Time at which it expires, ISO 8601 in UTC; `null` for a key of an older daemon that does not
   * expire.
   */
  expiresAt: string | null;
  /** Remaining time to live, in milliseconds. */
  ttlLeftMs: number | null;
  /** Time to live that it got when it was unlocked, in milliseconds. Absent for an older daemon. */
  lifeMs?: number;
  /** Limit that set the time to live. Absent for an older daemon, and if unknown. */
  lifeBy?: 'asked' | 'default' | 'max_duration' | 'credential' | 'ceiling' | (string & {});
  /** Absent for an older daemon. */
  grade?: Grade;
  /** Absent for an older daemon. */
  source?: Source;
}

/** Result of {@link status}. */
export interface StatusOutput {
  /** Keys that the daemon holds, in the order they were unlocked. */
  keys: HeldKey[];
  owner: string | null;
  socketPath: string;
  /** `true` for the daemon of an older TypeScript keyrack. */
  legacy: boolean;
  /** Your other login sessions in which the same rack is open. */
  otherSessions: string[];
  /** Details that the daemon reports. Absent for an older one. */
  daemon?: {
    version: string;
    build: string;
    pid: number;
    proto: number;
    /**
     * Boundary between callers: the login session, or only the user if the kernel has no sessions.
     */
    boundary: 'session' | 'user';
    /**
     * Namespaces that callers may be in: `pid and user`, `pid only`, `user allowed` or
     * `all allowed`. Absent for older daemons.
     */
    namespaces?: string;
    /** Memory that holds the secrets: hidden even from the kernel, locked into RAM, or ordinary. */
    memory: 'secret' | 'locked' | 'unlocked';
    /** Hardening measures as the kernel reports them. */
    hardening: { name: string; on: boolean; detail?: string }[];
  };
}

/**
 * Returns the keys that the daemon holds, without secrets; `null` if no daemon runs. Synchronous;
 * the daemon may take `timeoutMs` (milliseconds, default 2000).
 *
 * @throws {KeyrackError} `daemon_unresponsive`, `server_untrusted`, `no_home`, `binding_missing`, …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * for (const { slug, ttlLeftMs } of status()?.keys ?? []) console.log(slug, ttlLeftMs);
 */
export function status(input?: ReadOptions & { /** Limits the result to keys of this env. */ env?: EnvName | null | undefined }): StatusOutput | null;

/**
 * Erases keys from the daemon: one (by full slug), those of an env, or all. A key that the daemon
 * does not hold is not an error. Synchronous: the keys are erased when it returns.
 *
 * @returns the slugs that were erased, sorted.
 * @throws {KeyrackError} `bad_slug`, `daemon_unresponsive`, `server_untrusted`, `binding_missing`,
 *   …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * relock({ key: 'acme.test.API_KEY' });
 * relock({ env: 'prod' });
 * relock();
 */
export function relock(input?: ReadOptions & { /** A full slug. */ key?: string | null | undefined; env?: EnvName | null | undefined }): { relocked: string[] };

/** Key that {@link unlock} left out. */
export interface Omitted {
  slug: string;
  reason: 'absent' | 'lost' | 'remote' | 'errored' | (string & {});
  /** Complete command that fixes it, ready to paste into a shell. */
  fix?: string;
  /** Error, if there was one. */
  cause?: { code: KeyrackErrorCode; message: string; fix?: string; hint?: string };
}

/** Key that {@link unlock} unlocked: its grant without the secret. */
export type Unlocked = Omit<Grant<never>, 'key'>;

/**
 * Opens vaults and sends their keys to the daemon, which it starts if necessary. A key that fails
 * does not stop the others: each one is in `unlocked`, or in `omitted` with its cause, and the
 * promise resolves. Runs the command in a child process.
 *
 * @throws {KeyrackError} `prompt_needed`, `host_manifest_missing`, `no_identity`, `key_not_found`,
 *   `timed_out`, `aborted`, …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const { unlocked, omitted } = await unlock({ env: 'test', duration: '30m' });
 * for (const { slug, reason, cause } of omitted) console.error(slug, reason, cause?.fix);
 */
export function unlock(
  input?: ChangeOptions & {
    env?: EnvName | null | undefined;
    /** One key, by its bare name or full slug. Required for env `sudo`. */
    key?: KeyName | null | undefined;
    /**
     * `@this` (default): keys of the org of `keyrack.yml` and of this machine; `@all`: only those
     * of this machine.
     */
    org?: '@this' | '@all' | (string & {}) | null | undefined;
    /**
     * Time to live, such as `'30m'` or `'9h'`. Default 9 h, for `sudo` 30 min; at most 24 h, for
     * `sudo` 1 h.
     */
    duration?: string | null | undefined;
  },
): Promise<{ unlocked: Unlocked[]; omitted: Omitted[] }>;

/** Record of a key that was set. */
export interface Host {
  slug: string;
  exid: string | null;
  vault: string;
  mech: string;
  env: string;
  org: string;
  /** Data of the vault; for os.secure, the version that the key's file is bound to. */
  meta: unknown;
  /** Longest time that it can be unlocked for, such as `'1h'`. */
  maxDuration: string | null;
  /** ISO 8601 in UTC. */
  createdAt: string;
  /** ISO 8601 in UTC. */
  updatedAt: string;
}

/** Result of {@link set}. */
export interface SetResult extends Host {
  /**
   * Notices, a sentence each, such as a carriage return or outer white space in the secret. Absent
   * if there are none.
   */
  notices?: string[];
}

/** Options of {@link set}, however the key is named. */
export interface SetOptions extends ChangeOptions, AllowOption {
  /**
   * The secret, passed to the command on stdin and stored byte for byte: a string as UTF-8,
   * including a newline at its end. A secret of only white space fails with `empty_secret`. Without
   * a secret, the command asks for it at the terminal with `prompt: 'tty'`, and with `slug` also if
   * standard input is a terminal; otherwise the call fails with `prompt_needed`.
   */
  secret?: string | Uint8Array | ErasableSecret | undefined;
  /** Vault, such as `os.secure`. */
  vault: KeyrackHostVault;
  /** Mechanism, such as `PERMANENT_VIA_REPLICA`. Required for a permanent key. */
  mech?: KeyrackGrantMechanism | null | undefined;
  /** Name of the key in the vault, for vaults that store a reference. */
  exid?: string | null | undefined;
  /** Longest time that it can be unlocked for, such as `'1h'`. */
  maxDuration?: string | null | undefined;
  /** Path of the `keyrack.yml` that declares the key, relative to the repository's root. */
  at?: string | null | undefined;
}

/**
 * Input of {@link set} by name, in the current repository. Its `keyrack.yml` determines the org.
 */
export interface SetByNameInput extends SetOptions {
  /** Bare name or full slug. `set` declares it if it is not declared yet. */
  key: string;
  slug?: never;
  env?: EnvName | null | undefined;
  org?: '@this' | '@all' | (string & {}) | null | undefined;
}

/**
 * Input of {@link set} by full slug, in a repository or outside of one. If there is a
 * `keyrack.yml`, the slug must have its org.
 */
export interface SetBySlugInput extends SetOptions {
  /** `org.env.NAME`. */
  slug: string;
  key?: never;
}

/**
 * Stores a key in a vault and, in a repository, declares it in `keyrack.yml`. Validates everything
 * before it stores anything. Does not unlock the key; {@link unlock} does. Runs the command in a
 * child process.
 *
 * @throws {KeyrackError} `mech_required`, `grade_degraded`, `below_declared`, `long_lived_token`,
 *   `empty_secret`, `host_manifest_missing`, `no_identity`, `prompt_needed`, `no_manifest`,
 *   `org_mismatch`, …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * await set({ key: 'API_KEY', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: token });
 * @example
 * const host = await set({ slug: 'acme.test.API_KEY', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: token });
 */
export function set(input: SetByNameInput | SetBySlugInput): Promise<SetResult>;

/** Input of {@link del} by name, in the current repository. */
export interface DelByNameInput extends ChangeOptions {
  /** Bare name or full slug. */
  key: string;
  slug?: never;
  env?: EnvName | null | undefined;
  org?: '@this' | '@all' | (string & {}) | null | undefined;
}

/** Input of {@link del} by full slug, in a repository or outside of one. */
export interface DelBySlugInput extends ChangeOptions {
  /** `org.env.NAME`. */
  slug: string;
  key?: never;
}

/** Result of {@link del}. */
export interface DelOutput {
  slug: string;
  effect: 'deleted' | 'not_found';
  /** Object that was also destroyed, at a vault that owned it. */
  destroyed?: { exid: string };
}

/**
 * Removes a key from its vault, from this machine's records, from the daemon and from
 * `keyrack.yml`. A key that does not exist is not an error. Runs the command in a child process.
 *
 * @throws {KeyrackError} `no_manifest`, `ambiguous_key`, `vault_unsupported`, `no_identity`,
 *   `prompt_needed`, …
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const { effect } = await del({ key: 'API_KEY', env: 'test' });
 */
export function del(input: DelByNameInput | DelBySlugInput): Promise<DelOutput>;

/**
 * Code of a {@link KeyrackError}. The list grows: an unknown code of a newer daemon is passed on.
 */
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

/**
 * Error that keyrack throws for everything except an argument of a wrong type. Its text holds no
 * secret.
 */
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
  /** Code for programs to act on. */
  readonly code: KeyrackErrorCode;
  /**
   * Exit code of a command that fails with it: 2 if the caller must act, 1 for a malfunction, 130
   * if interrupted.
   */
  readonly exit: number;
  /** Slug of the key that it is about. */
  readonly slug?: string;
  /** Complete command that fixes it, ready to paste into a shell. */
  readonly fix?: string;
  /** The attempts that failed, without secrets. */
  readonly attempts?: Attempt[];
  /** Last part of the command's stderr. */
  readonly detail?: string;
  /** Additional information. */
  readonly metadata: { hint?: string };
}

/** The functions of this package as one object. */
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

/** Mechanism that makes a secret. Later versions may add some. */
export type KeyrackGrantMechanism =
  | 'PERMANENT_VIA_REPLICA'
  | 'PERMANENT_VIA_REFERENCE'
  | 'EPHEMERAL_VIA_SESSION'
  | 'EPHEMERAL_VIA_GITHUB_APP'
  | 'EPHEMERAL_VIA_AWS_SSO'
  | 'EPHEMERAL_VIA_GITHUB_OIDC'
  | (string & {});

/** Vault that stores a secret. Later versions may add some. */
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

/** Declaration of one key in `keyrack.yml`. A plain object. */
export interface KeyrackKeySpec {
  slug: string;
  /** Always `null`: no `keyrack.yml` names a mechanism. */
  mech: KeyrackGrantMechanism | null;
  env: string;
  name: string;
  /** Minimum grade on each axis; `null` if there is none. */
  grade: { protection: Grade['protection'] | null; duration: Grade['duration'] | null } | null;
  flags: {
    /** Variable that makes this key optional if it is set. */
    isOptionalIfHas: string | null;
  };
}

/** A repository's `keyrack.yml` with everything it extends. A plain object. */
export interface KeyrackRepoManifest {
  /** Absolute path of the file. */
  uri: string;
  org: string;
  /** Envs that the file itself declares, without `all`. */
  envs: string[];
  /** Files that it extends, directly or indirectly. Absent if there are none. */
  extends?: string[];
  /** Declared keys by slug, in their order. */
  keys: Record<string, KeyrackKeySpec>;
}

/**
 * Input of {@link formatKeyrackKeyBranch}: an attempt, or an element of {@link unlock}'s result.
 */
export type KeyrackKeyBranchEntry = Attempt<unknown> | Unlocked | Omitted;

/**
 * Renders the branch of one key in the tree that commands print: its lines, without line breaks.
 * Never shows the secret. Works without the native part.
 *
 * @example
 * for (const line of formatKeyrackKeyBranch({ entry: attempt, isLast: true })) console.log(line);
 */
export function formatKeyrackKeyBranch(input: { entry: KeyrackKeyBranchEntry; isLast?: boolean | undefined; /** ANSI colors. Default false. */ color?: boolean | undefined }): string[];

/**
 * Renders the tree of one attempt, as in `emit.stdout` of {@link get}. Never shows the secret.
 * Works without the native part.
 *
 * @example
 * process.stderr.write(formatKeyrackGetOneOutput({ attempt }));
 */
export function formatKeyrackGetOneOutput(input: { attempt: Attempt<unknown>; /** ANSI colors. Default false. */ color?: boolean | undefined }): string;

/**
 * Renders the tree of several attempts, as in `emit.stdout` of {@link get}. Never shows the secret.
 * Works without the native part.
 *
 * @example
 * const locked = attempts.filter(({ status }) => status === 'locked');
 * process.stderr.write(formatKeyrackGetAllOutput({ attempts: locked }));
 */
export function formatKeyrackGetAllOutput(input: { attempts: readonly Attempt<unknown>[]; /** ANSI colors. Default false. */ color?: boolean | undefined }): string;

/**
 * Repository and owner that {@link getKeyrackKeyGrant} reads for. A plain object; it keeps nothing
 * open.
 */
export interface ContextKeyrackGrantGet {
  owner: string | null;
  /** Root of the repository; `null` for none, in which case keys need a full slug. */
  gitroot: string | null;
  /** Its `keyrack.yml`; `null` if there is none. */
  repoManifest: KeyrackRepoManifest | null;
}

/**
 * Makes a context. Reads `keyrack.yml` below `gitroot`; decrypts nothing and never prompts.
 *
 * @throws {KeyrackError} `manifest_invalid`, `repository_untrusted`; `binding_missing` if there is
 *   no native part and the file is not in its plain form.
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const context = await genContextKeyrackGrantGet({ gitroot: process.cwd(), owner: 'robot' });
 * const slugs = Object.keys(context.repoManifest?.keys ?? {});
 */
export function genContextKeyrackGrantGet(input: { gitroot: string | null; owner: string | null }): Promise<ContextKeyrackGrantGet>;

/**
 * Reads keys for a context like {@link get}, from the daemon, then from `process.env`: one key, or
 * each of `slugs` in their order.
 *
 * @throws {KeyrackError} codes of {@link getSync}.
 * @throws {TypeError} for an argument of a wrong type; the message names it.
 * @example
 * const attempt = await getKeyrackKeyGrant({ for: { key: 'acme.test.API_KEY' } }, context);
 * const attempts = await getKeyrackKeyGrant({ for: { repo: true }, slugs }, context);
 */
export function getKeyrackKeyGrant(
  input: AllowOption & { for: { key: string; repo?: never }; env?: EnvName | null | undefined; org?: '@this' | '@all' | (string & {}) | null | undefined },
  context: Pick<ContextKeyrackGrantGet, 'owner' | 'gitroot'>,
): Promise<KeyrackGrantAttempt>;
export function getKeyrackKeyGrant(
  input: AllowOption & { for: { repo: true; key?: never }; /** Full slugs. */ slugs: readonly string[]; /** Ignored: each slug names its env. */ env?: EnvName | null | undefined },
  context: Pick<ContextKeyrackGrantGet, 'owner' | 'gitroot'>,
): Promise<KeyrackGrantAttempt[]>;
