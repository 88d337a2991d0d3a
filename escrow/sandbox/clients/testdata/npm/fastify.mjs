// @fastify/oauth2, README "Usage with .discovery".
import cookie from '@fastify/cookie';
import oauth2 from '@fastify/oauth2';
import Fastify from 'fastify';
import { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT, REDIRECT_URI } from './app.mjs';

const fastify = Fastify();
fastify.register(cookie);
fastify.register(oauth2, {
  name: 'penname',
  scope: ['openid', 'profile', 'email'],
  credentials: { client: { id: CLIENT_ID, secret: CLIENT_SECRET } },
  startRedirectPath: '/login',
  callbackUri: REDIRECT_URI,
  discovery: { issuer: ISSUER },
});
fastify.get('/callback', async (request) => {
  const { token } = await fastify.penname.getAccessTokenFromAuthorizationCodeFlow(request);
  return `signed in as ${(await fastify.penname.userinfo(token.access_token)).sub}`;
});

fastify.listen({ port: Number(PORT), host: '127.0.0.1' });
