# Authlib's Flask client, as its documentation has it.
import os

from authlib.integrations.flask_client import OAuth
from flask import Flask

app = Flask(__name__)
app.secret_key = os.environ["SECRET"]
oauth = OAuth(app)
oauth.register(
    name="penname",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid email profile"},
)


@app.route("/login")
def login():
    return oauth.penname.authorize_redirect(os.environ["REDIRECT_URI"])


@app.route("/callback")
def callback():
    token = oauth.penname.authorize_access_token()
    info = oauth.penname.userinfo(token=token)
    return "signed in as " + info["sub"] if info["sub"] == token["userinfo"]["sub"] else "two subjects"


app.run(port=int(os.environ["PORT"]))
