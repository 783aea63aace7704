"""Signs in with msal as an application would, and says what came of it as one line of JSON.

Reads a JSON object on standard input: ca, do, and what it needs:
  do = "password": user, password, authority, client_id: the whole path, realm discovery first
  do = "mex":      url: the metadata exchange alone
  do = "active":   url, version ("2005" or "13"), user, password: one WS-Trust request
"""

import json
import sys

import msal
import msal.mex
import msal.wstrust_request
import requests

ACTIONS = {
    "13": "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue",
    "2005": "http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue",
}


class Session(requests.Session):
    """Remembers the addresses that were asked, in order, without their queries."""

    def __init__(self, ca):
        super().__init__()
        self.verify = ca
        self.trust_env = False
        self.asked = []

    def request(self, method, url, *args, **kwargs):
        self.asked.append(url.split("?")[0])
        return super().request(method, url, *args, **kwargs)


def act(wanted, session):
    if wanted["do"] == "mex":
        found = msal.mex.send_request(wanted["url"], session)
        return {"mex": sorted(found) if found else []}
    if wanted["do"] == "active":
        result = msal.wstrust_request.send_request(
            wanted["user"],
            wanted["password"],
            "urn:federation:MicrosoftOnline",
            wanted["url"],
            ACTIONS[wanted["version"]],
            session,
        )
        return {"token": bool(result.get("token")), "type": result.get("type")}
    application = msal.PublicClientApplication(
        wanted["client_id"], authority=wanted["authority"], http_client=session
    )
    result = application.acquire_token_by_username_password(
        wanted["user"], wanted["password"], scopes=["User.Read"]
    )
    if "access_token" in result:
        return {"token": True}
    return {"error": result.get("error", ""), "said": result.get("error_description", "")}


def main():
    wanted = json.load(sys.stdin)
    session = Session(wanted["ca"])
    try:
        answer = act(wanted, session)
    except Exception as error:  # whatever an application would show to its user
        answer = {"error": type(error).__name__, "said": str(error)}
    answer["asked"] = session.asked
    print(json.dumps(answer))


main()
