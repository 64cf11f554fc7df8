// as written against older versions, with a cast
import { keyrack } from 'keyrack';
import type {
  ContextKeyrackGrantGet,
  KeyrackGrantAttempt,
  KeyrackGrantMechanism,
  KeyrackGrantStatus,
  KeyrackHostVault,
  KeyrackKeyBranchEntry,
  KeyrackKeyGrant,
  KeyrackKeyHost,
  KeyrackKeySpec,
  KeyrackRepoManifest,
} from 'keyrack';

export type Known = [ContextKeyrackGrantGet, KeyrackKeyHost, KeyrackKeySpec, KeyrackRepoManifest, KeyrackKeyBranchEntry];

const run = async (): Promise<void> => {
  const result = await keyrack.get({ for: { repo: true }, owner: 'ehmpath', env: 'test' });
  const attempts = result.attempts as KeyrackGrantAttempt[];
  const granted = attempts.filter((attempt) => attempt.status === 'granted');
  const grants = granted.map((attempt) => (attempt as KeyrackGrantAttempt & { grant: KeyrackKeyGrant }).grant);
  const vaults: KeyrackHostVault[] = grants.map((grant) => grant.source.vault);
  const mechs: KeyrackGrantMechanism[] = grants.map((grant) => grant.source.mech);
  const statuses: KeyrackGrantStatus[] = attempts.map((attempt) => attempt.status);
  const one = (await keyrack.get({ for: { key: 'XAI_API_KEY' }, owner: 'ehmpath', env: 'test' })) as { attempt: KeyrackGrantAttempt };
  console.log(JSON.stringify({ vaults, mechs, statuses, one: one.attempt.status, plain: grants.every((grant) => Object.getPrototypeOf(grant) === Object.prototype) }));
};
void run();
