// a skill of a role: one key, its tree and exit code 2 where it is not granted
import { keyrack } from 'keyrack';

const review = async (): Promise<void> => {
  const keyGrant = await keyrack.get({ for: { key: 'XAI_API_KEY' }, owner: 'ehmpath', env: 'test' });
  if (keyGrant.attempt.status !== 'granted') {
    console.error(keyGrant.emit.stdout);
    process.exit(2);
  }
  process.env.XAI_API_KEY = keyGrant.attempt.grant.key.secret;
  console.log(keyGrant.attempt.grant.slug, keyGrant.attempt.grant.source.vault, process.env.XAI_API_KEY.length);
};
void review();
