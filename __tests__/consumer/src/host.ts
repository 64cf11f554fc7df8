// stores a key by its slug; the secret comes from the caller
import { keyrack } from 'keyrack';
import type { KeyrackKeyHost } from 'keyrack';

const run = async (): Promise<void> => {
  const host: KeyrackKeyHost = await keyrack.set({
    slug: 'ehmpathy.test.STORED',
    mech: 'PERMANENT_VIA_REPLICA',
    vault: 'os.secure',
    owner: 'ehmpath',
    secret: 'stored',
  });
  console.log(host.slug, host.vault, host.mech, host.exid, Object.getPrototypeOf(host) === Object.prototype);
};
void run();
