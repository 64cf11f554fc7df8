const { keyrack } = require('keyrack');

test('the env file has sourced what the tests need', async () => {
  expect(process.env.XAI_API_KEY).toBe('xai test');
  expect(process.env.OPENAI_API_KEY).toBe('openai test');
  const { attempt } = await keyrack.get({ for: { key: 'XAI_API_KEY' }, owner: 'ehmpath', env: 'test' });
  expect(attempt.grant.key.secret).toBe('xai test');
});
