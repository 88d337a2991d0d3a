// oidc-client-ts, README: a page of scripts, a public client; at /popup it signs in by a
// window of its own. The server here only hands out files.
import express from 'express';
import { createRequire } from 'node:module';
import { listen, ISSUER, CLIENT_ID, REDIRECT_URI } from './app.mjs';

const app = express();
app.get('/oidc-client-ts.js', (req, res) => res.sendFile(createRequire(import.meta.url).resolve('oidc-client-ts').replace(/dist\/.*$/, 'dist/browser/oidc-client-ts.js'), { dotfiles: 'allow' }));
app.get(['/login', '/popup', '/callback'], (req, res) => res.send(`<!doctype html><title>SPA</title><p id="out"></p><button id="open">Sign in in a popup</button>
<script src="/oidc-client-ts.js"></script>
<script type="module">
const manager = new oidc.UserManager({ authority: ${JSON.stringify(ISSUER)}, client_id: ${JSON.stringify(CLIENT_ID)}, redirect_uri: ${JSON.stringify(REDIRECT_URI)} });
const out = document.getElementById('out');
try {
  if (location.pathname === '/login') await manager.signinRedirect();
  else if (location.pathname === '/callback') out.textContent = 'signed in as ' + (await manager.signinCallback()).profile.sub;
} catch (e) {
  out.textContent = 'failed: ' + e;
}
document.getElementById('open').onclick = () =>
  manager.signinPopup().then((user) => { out.textContent = 'signed in as ' + user.profile.sub; }, (e) => { out.textContent = 'failed: ' + e; });
</script>`));

listen(app);
