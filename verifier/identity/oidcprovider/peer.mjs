// The peer of Penname's sign-ins: npm's oidc-provider as it comes, all in memory, with pairwise
// subjects and EdDSA. People sign in by a number and press a button to consent. It listens on a
// free port of 127.0.0.1, prints its address as the first line, and ends with its standard input.
//
//	node peer.mjs DIRECTORY_OF_NODE_MODULES REDIRECT_URI
import { createServer } from 'node:http';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, redirectURI] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider', 'lib', 'index.js')));

const client = (id) => ({
  client_id: id, client_secret: 'a secret: with % and + in it', redirect_uris: [redirectURI],
  response_types: ['code'], grant_types: ['authorization_code'], id_token_signed_response_alg: 'EdDSA', subject_type: 'pairwise',
});
const configuration = {
  clients: [client('one'), client('two')],
  jwks: { keys: [{ ...generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'EdDSA', kid: 'k1' }] },
  enabledJWA: { idTokenSigningAlgValues: ['EdDSA'] },
  cookies: { keys: ['a key for a benchmark'] },
  subjectTypes: ['pairwise'],
  pairwiseIdentifier: (_, account, { clientId }) => createHash('sha256').update(`${clientId}\0${account}\0a salt`).digest('hex'),
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  pkce: { required: () => true },
};

const form = (request) => new Promise((done) => {
  let body = '';
  request.on('data', (part) => { body += part; }).on('end', () => done(new URLSearchParams(body)));
});

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(address, configuration);
  const handle = provider.callback();
  server.on('request', async (req, res) => {
    if (!req.url.startsWith('/interaction/')) {
      handle(req, res);
      return;
    }
    try {
      const { prompt, params, session } = await provider.interactionDetails(req, res);
      if (req.method === 'GET') {
        res.setHeader('Content-Type', 'text/html').end(`<!doctype html><title>Sign in</title><p>${params.client_id} asks who you are.
<form method="post" action="${req.url}">${prompt.name === 'login' ? '<input name="person">' : ''}<button name="decision" value="allow">Go on</button></form>`);
        return;
      }
      const body = await form(req);
      if (prompt.name === 'login') {
        await provider.interactionFinished(req, res, { login: { accountId: body.get('person') } }, { mergeWithLastSubmission: false });
        return;
      }
      const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
      grant.addOIDCScope(prompt.details.missingOIDCScope?.join(' ') ?? 'openid');
      await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
    } catch (err) {
      res.writeHead(500).end(String(err));
    }
  });
  console.log(address);
});
process.stdin.on('end', () => process.exit(0)).resume();
