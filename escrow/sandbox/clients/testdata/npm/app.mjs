// What the small apps here have in common: their settings, and a web server with sessions.
import express from 'express';
import session from 'express-session';

export const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, ORIGIN, PORT, REDIRECT_URI, SECRET } = process.env;

export const app = express();
app.use(session({ secret: SECRET, resave: false, saveUninitialized: true }));

// callbackURL is where the browser came back to, as the client library wants to have it.
export const callbackURL = (req) => new URL(req.originalUrl, ORIGIN);

export const listen = (server = app) => server.listen(PORT, '127.0.0.1');
