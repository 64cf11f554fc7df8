// a provider that wants an admin token, and says to its human what to do where there is none
import { keyrack } from 'keyrack';

class ConstraintError extends Error {
  public readonly code = { exit: 2 };
  constructor(message: string, public readonly metadata: Record<string, unknown>) {
    super(message);
  }
}

export const getGithubToken = async (input: { owner: string | null; key: string }): Promise<string> => {
  const { attempt, emit } = await keyrack.get({
    for: { key: input.key },
    owner: input.owner,
    env: 'prep',
    allow: { dangerous: false },
  });
  if (attempt.status !== 'granted')
    throw new ConstraintError(emit.stdout, { status: attempt.status, fix: attempt.fix });
  return attempt.grant.key.secret;
};

const main = async (): Promise<void> => {
  try {
    console.log(await getGithubToken({ owner: 'ehmpath', key: process.argv[2] ?? 'EHMPATHY_SEATURTLE_GITHUB_TOKEN' }));
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    console.error(error.message);
    process.exitCode = error.code.exit;
  }
};
void main();
