#!/bin/sh
# mod_auth_openidc, its README's quick start: a whole site behind OpenID Connect. The page
# shows REMOTE_USER. With RECIPE the settings are those in that file, and it shows a handle
# and the ID token as well.
set -eu
modules=/usr/lib/apache2/modules
printf '%s' 'signed in as <!--#echo var="REMOTE_USER" --> <!--#echo var="OIDC_CLAIM_preferred_username" --> <!--#echo var="OIDC_id_token" -->' >"$DIR/index.shtml"
chmod 755 "$DIR"
cat >"$DIR/apache2.conf" <<END
ServerRoot $DIR
ServerName localhost
Listen 127.0.0.1:$PORT
PidFile $DIR/pid
Mutex file:$DIR default
ErrorLog /dev/stderr
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authn_core_module $modules/mod_authn_core.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule authz_user_module $modules/mod_authz_user.so
LoadModule include_module $modules/mod_include.so
LoadModule mime_module $modules/mod_mime.so
LoadModule dir_module $modules/mod_dir.so
LoadModule auth_openidc_module $modules/mod_auth_openidc.so
TypesConfig /dev/null
User www-data
Group www-data
DocumentRoot $DIR
DirectoryIndex index.shtml
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<Directory $DIR>
	Options +Includes
</Directory>
END
if [ -n "${RECIPE:-}" ]; then
	cat "$RECIPE" >>"$DIR/apache2.conf"
else
	cat >>"$DIR/apache2.conf" <<END
OIDCProviderMetadataURL $ISSUER/.well-known/openid-configuration
OIDCClientID $CLIENT_ID
OIDCClientSecret $CLIENT_SECRET
OIDCRedirectURI $REDIRECT_URI
OIDCCryptoPassphrase $SECRET
<Location />
	AuthType openid-connect
	Require valid-user
</Location>
END
fi
exec /usr/sbin/apache2 -f "$DIR/apache2.conf" -DFOREGROUND
