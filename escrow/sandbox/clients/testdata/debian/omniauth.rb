# omniauth_openid_connect under Sinatra, as its README has it, with discovery.
require 'sinatra/base'
require 'omniauth'
require 'omniauth_openid_connect'

issuer = URI(ENV.fetch('ISSUER'))
SWD.url_builder = URI::HTTP # the issuer is on loopback, without TLS

class App < Sinatra::Base
  set :session_secret, ENV.fetch('SECRET')
  enable :sessions
  set :logging, false
  get('/login') { %(<form method="post" action="/auth/openid_connect"><input type="hidden" name="authenticity_token" value="#{Rack::Protection::AuthenticityToken.token(session)}"><button>Sign in with Penname</button></form>) }
  get('/auth/openid_connect/callback') { "signed in as #{request.env['omniauth.auth'].uid}" }
  get('/auth/failure') { "failed: #{params['message']}" }
end

App.use OmniAuth::Builder do
  provider :openid_connect,
           name: :openid_connect,
           scope: %i[openid email profile],
           response_type: :code,
           discovery: true,
           issuer: issuer.to_s,
           client_options: {
             scheme: issuer.scheme, host: issuer.host, port: issuer.port,
             identifier: ENV.fetch('CLIENT_ID'),
             secret: ENV.fetch('CLIENT_SECRET'),
             redirect_uri: ENV.fetch('REDIRECT_URI')
           }
end

App.run!(port: ENV.fetch('PORT').to_i, bind: '127.0.0.1', server: 'webrick', quiet: true)
