// oidc-client-ts, README: a page of scripts, a public client. The server here only hands out
// files.
import express from 'express';
import { createRequire } from 'node:module';
import { listen, ISSUER, CLIENT_ID, REDIRECT_URI } from './app.mjs';

const app = express();
app.get('/oidc-client-ts.js', (req, res) => res.sendFile(createRequire(import.meta.url).resolve('oidc-client-ts').replace(/dist\/.*$/, 'dist/browser/oidc-client-ts.js'), { dotfiles: 'allow' }));
app.get(['/login', '/callback'], (req, res) => res.send(`<!doctype html><title>SPA</title><p id="out"></p>
<script src="/oidc-client-ts.js"></script>
<script type="module">
const manager = new oidc.UserManager({ authority: ${JSON.stringify(ISSUER)}, client_id: ${JSON.stringify(CLIENT_ID)}, redirect_uri: ${JSON.stringify(REDIRECT_URI)} });
try {
  if (location.pathname === '/login') await manager.signinRedirect();
  else document.getElementById('out').textContent = 'signed in as ' + (await manager.signinCallback()).profile.sub;
} catch (e) {
  document.getElementById('out').textContent = 'failed: ' + e;
}
</script>`));

listen(app);
