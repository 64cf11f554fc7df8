// Types as an ES module sees them. Compiled, never run: each line that must not compile says so.

import keyrack, { ErasableSecret, KeyrackError, del, get, getSync, relock, set, source, status, unlock } from 'keyrack';
import type { Attempt, GetInput, KeyrackErrorCode } from 'keyrack';
import { binaryPath } from 'keyrack/bin';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function isTrue<_T extends true>(): void {}

const one = getSync({ for: { key: 'acme.test.K' } });
isTrue<Equal<typeof one.attempt, Attempt<string>>>();
if (one.attempt.status === 'granted') {
  isTrue<Equal<typeof one.attempt.grant.key.secret, string>>();
  isTrue<Equal<typeof one.attempt.grant.expiresAt, string | undefined>>();
} else if (one.attempt.status === 'blocked') {
  isTrue<Equal<typeof one.attempt.reasons, string[]>>();
} else {
  isTrue<Equal<typeof one.attempt.status, 'absent' | 'locked'>>();
  isTrue<Equal<typeof one.attempt.fix, string | null>>();
}
// @ts-expect-error one key has one attempt
one.attempts;

const all = await get({ for: { repo: true }, env: 'test', owner: null, with: { unlock: true }, signal: new AbortController().signal });
isTrue<Equal<typeof all.attempts, Attempt<string>[]>>();
isTrue<Equal<typeof all.emit.stdout, string>>();

const buffered = getSync({ for: { key: 'K' }, as: 'buffer' });
if (buffered.attempt.status === 'granted') {
  using secret = buffered.attempt.grant.key.secret;
  isTrue<Equal<typeof secret, ErasableSecret>>();
  isTrue<Equal<typeof secret.bytes, Uint8Array>>();
}

// @ts-expect-error either a key or the repository
getSync({ for: { key: 'K', repo: true } });
// @ts-expect-error getSync cannot unlock
getSync({ for: { key: 'K' }, with: { unlock: true } });
// @ts-expect-error there is no such form
getSync({ for: { key: 'K' }, as: 'bytes' });
// @ts-expect-error the env is needed
source({});
// @ts-expect-error no such mode
source({ env: 'test', mode: 'loose' });
// @ts-expect-error a secret is made by keyrack alone
new ErasableSecret(new Uint8Array());

isTrue<Equal<ReturnType<typeof source>, { sourced: string[]; kept: string[]; missing: string[] }>>;
const held = status();
if (held !== null) isTrue<Equal<(typeof held.keys)[number]['ttlLeftMs'], number | null>>();
relock({ env: 'test' }).relocked satisfies string[];
(await unlock({ env: 'test', duration: '10m', prompt: 'tty', timeoutMs: 1000 })).unlocked satisfies { slug: string }[];
(await set({ key: 'K', vault: 'os.secure', secret: new Uint8Array() })).vault satisfies string;
(await del({ key: 'K' })).effect satisfies 'deleted' | 'not_found';
keyrack.getSync satisfies typeof getSync;
binaryPath() satisfies string;

export function handle(error: unknown): KeyrackErrorCode | undefined {
  if (!(error instanceof KeyrackError)) return undefined;
  error.exit satisfies number;
  error.metadata.hint satisfies string | undefined;
  if (error.code === 'locked') return error.code;
  return error.code;
}
export const generic = (input: GetInput): unknown => get(input);
