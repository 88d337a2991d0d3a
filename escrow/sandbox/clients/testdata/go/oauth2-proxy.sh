#!/bin/sh
# oauth2-proxy with the generic provider "oidc", as its documentation has it, over plain http.
# With RECIPE the settings are those in that file.
[ -z "${RECIPE:-}" ] || exec oauth2-proxy --config="$RECIPE" --cookie-secure=false
exec oauth2-proxy --http-address="127.0.0.1:$PORT" --provider=oidc --provider-display-name="OpenID Connect" \
	--oidc-issuer-url="$ISSUER" --client-id="$CLIENT_ID" --client-secret="$CLIENT_SECRET" --redirect-url="$REDIRECT_URI" \
	--cookie-secret="$(printf %.32s "$SECRET")" --cookie-secure=false --email-domain='*' --upstream=static://200 \
	${HELPED:+--code-challenge-method=S256 --oidc-email-claim=sub}
