// An OpenID provider that nobody of this project wrote, npm's oidc-provider, for
// tests. It listens on a free port of 127.0.0.1, prints its address as the first
// line, and ends with its standard input. Its issuer is that address or, behind a
// proxy, the one that is given.
//
//	node server.mjs DIRECTORY_OF_NODE_MODULES REDIRECT_URI [ISSUER]
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, redirectURI, publicIssuer] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider', 'lib', 'index.js')));

const people = {
  alice: { name: 'Alice Weathervane', acr: 'urn:example:substantial' },
  bert: { name: 'Bert Millrace', acr: 'urn:example:low' },
  carol: { name: 'Alice Weathervane', acr: 'urn:example:substantial' }, // and born on the same day
};
const claims = (sub) => ({
  sub,
  name: people[sub].name,
  birthdate: '1980-02-29',
  gender: 'surplus',
  email: `${sub}@mail.example`,
  email_verified: true,
  address: { street_address: '1 High Street', locality: 'Anytown' },
  profession: 'Teacher',
  employer: { name: 'Large School', country: 'FR' },
});

const key = (alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: alg,
});
const algs = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const client = (alg, id = `penname-${alg}`) => ({
  client_id: id,
  client_secret: 'a secret: with % and + in it',
  redirect_uris: [redirectURI],
  response_types: ['code'],
  grant_types: ['authorization_code'],
  id_token_signed_response_alg: alg,
});

const configuration = {
  clients: [client('RS256', 'penname'), ...algs.map((alg) => client(alg))],
  jwks: {
    keys: [
      key('RS256', 'rsa', { modulusLength: 2048 }),
      key('PS256', 'rsa', { modulusLength: 2048 }),
      key('ES256', 'ec', { namedCurve: 'P-256' }),
      key('EdDSA', 'ed25519'),
    ],
  },
  enabledJWA: { idTokenSigningAlgValues: algs },
  cookies: { keys: ['a key for a test'] },
  acrValues: Object.values(people).map((p) => p.acr),
  claims: {
    openid: ['sub'], profile: ['name', 'birthdate', 'gender', 'profession', 'employer'], email: ['email', 'email_verified'], address: ['address'], acr: null, amr: null, auth_time: null,
  },
  features: { devInteractions: { enabled: false }, claimsParameter: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => claims(sub) }),
  pkce: { required: () => true },
  // Whoever signs in has consented.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email address');
    grant.addOIDCClaims(['profession', 'employer']);
    await grant.save();
    return grant;
  },
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${server.address().port}`;
  const issuer = publicIssuer || address;
  const provider = new Provider(issuer, configuration);
  provider.proxy = Boolean(publicIssuer);
  const handle = provider.callback();
  server.on('request', async (req, res) => {
    const url = new URL(req.url, issuer);
    if (!url.pathname.startsWith('/interaction/')) {
      handle(req, res);
      return;
    }
    try {
      const sub = url.searchParams.get('person');
      if (!sub) { // the page: choose a person, or none
        await provider.interactionDetails(req, res);
        res.setHeader('Content-Type', 'text/html').end(`Who are you? <form>${Object.entries(people)
          .map(([id, p]) => `<button name="person" value="${id}">${p.name}, ${id}</button>`).join('')}</form>`);
        return;
      }
      const result = people[sub]
        ? { login: { accountId: sub, acr: people[sub].acr, amr: ['pwd', 'mfa'] } }
        : { error: 'access_denied', error_description: '<script>alert(1)</script>' };
      await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
    } catch (err) {
      res.writeHead(500).end(String(err));
    }
  });
  console.log(address);
});
process.stdin.on('end', () => process.exit(0)).resume();
