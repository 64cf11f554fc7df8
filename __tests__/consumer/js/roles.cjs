const { keyrack } = require('keyrack');

(async () => {
  const { attempt, emit } = await keyrack.get({ for: { key: 'EHMPATH_BEAVER_GITHUB_TOKEN' }, owner: 'ehmpath', env: 'prep' });
  if (attempt.status !== 'granted') {
    process.stderr.write(emit.stdout);
    process.exit(2);
  }
  console.log(attempt.grant.key.secret);
})();
