// Auth.js core under Express: authjs.dev, "Express" and "Configuring an OIDC provider".
import express from 'express';
import { ExpressAuth, getSession } from '@auth/express';
import { listen, ISSUER, CLIENT_ID, CLIENT_SECRET, SECRET } from './app.mjs';

const config = {
  secret: SECRET,
  providers: [{ id: 'penname', name: 'Penname', type: 'oidc', issuer: ISSUER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }],
  callbacks: { // "Extending the Session": the identifier at the provider
    jwt: ({ token, profile }) => (profile ? { ...token, id: profile.sub } : token),
    session: ({ session, token }) => ({ ...session, user: { ...session.user, id: token.id } }),
  },
};
const app = express();
app.set('trust proxy', true);
app.use('/auth', ExpressAuth(config));
app.get('/', async (req, res) => res.send(`signed in as ${(await getSession(req, config))?.user?.id}`));

listen(app);
