// reads by a context
import { genContextKeyrackGrantGet, getKeyrackKeyGrant } from 'keyrack';

const run = async (): Promise<void> => {
  const context = await genContextKeyrackGrantGet({ gitroot: process.cwd(), owner: 'ehmpath' });
  const attempt = await getKeyrackKeyGrant({ for: { key: 'ehmpathy.test.XAI_API_KEY' } }, context);
  const slugs = Object.values(context.repoManifest?.keys ?? {}).filter((spec) => spec.env === 'test').map((spec) => spec.slug);
  const attempts = await getKeyrackKeyGrant({ for: { repo: true }, env: 'test', slugs, allow: { dangerous: true } }, context);
  console.log(JSON.stringify({ one: attempt.status, slugs, all: attempts.map(({ status }) => status) }));
};
void run();
