// What compiles where `keyrack types` has written the declared names: API_KEY and DB_PASSWORD of acme. Compiled, never run.

import keyrack, { del, formatKeyrackGetOneOutput, get, getSync, relock, set, source, unlock } from 'keyrack';
import type { GetSyncInput, KeyName, KeyrackKeys, Scope } from 'keyrack';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function isTrue<_T extends true>(): void {}

isTrue<Equal<keyof KeyrackKeys, 'API_KEY' | 'DB_PASSWORD' | 'LOG-1'>>();
isTrue<Equal<KeyrackKeys['DB_PASSWORD'], 'prod' | 'test'>>();

getSync({ for: { key: 'API_KEY' }, env: 'test' });
await get({ for: { key: 'LOG-1' }, env: 'test', with: { unlock: true } });
await keyrack.get({ for: { repo: true }, env: 'test' });
source({ env: 'test', key: 'DB_PASSWORD' });
await unlock({ env: 'test', key: 'API_KEY' });

// A slug in full is always a name: of the machine, of env sudo, or made up at run time.
getSync({ for: { key: '@all.test.BOX' } });
getSync({ for: { key: '@this.sudo.ROOT' } });
declare const name: string;
getSync({ for: { key: `acme.test.${name}` } });
relock({ key: 'acme.test.ANY' });

// @ts-expect-error misspelt
getSync({ for: { key: 'API_KYE' }, env: 'test' });
// @ts-expect-error misspelt
await get({ for: { key: 'api_key' }, env: 'test' });
// @ts-expect-error misspelt
await keyrack.get({ for: { key: 'API_KEYS' }, env: 'test' });
// @ts-expect-error misspelt
source({ env: 'test', key: 'DB_PASWORD' });
// @ts-expect-error misspelt
await unlock({ key: 'LOG_1' });
// @ts-expect-error a slug's env is one of six
getSync({ for: { key: 'acme.dev.API_KEY' } });
// @ts-expect-error any text is not a name
getSync({ for: { key: name } });
getSync({ for: { key: name as KeyName } });

// What is stored need not be declared yet.
await set({ key: 'NEW_KEY', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' });
await set({ slug: 'acme.test.NEW_KEY', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' });
await del({ key: 'OLD_KEY', env: 'test' });

const one = getSync({ for: { key: 'API_KEY' }, env: 'test' });
isTrue<Equal<typeof one.attempt.status, 'granted' | 'absent' | 'locked' | 'blocked'>>();
formatKeyrackGetOneOutput({ attempt: one.attempt });
export const scope: Scope = { key: 'API_KEY' };
export const ask = (input: GetSyncInput): unknown => getSync(input);
