"""Signs in as an application does that Microsoft's own library signs in, and reads something with the token.

Reads a JSON object on standard input: ca, authority, client_id, graph, and one of
  secret:                   the client secret
  key, certificate:         PEM: the assertion is signed PS256, the certificate named by SHA-256
  key, thumbprint:          PEM and 40 hex digits: the assertion is signed RS256, the certificate named by SHA-1
  machine:                  address of the metadata service
Writes one line of JSON: what came of it.
"""

import json
import os
import sys

import msal
import requests


def token_of(wanted, session):
    if "machine" in wanted:
        # The library asks the address of the field; here it is led to the lab's.
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = wanted["machine"]
        client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=session)
        return client.acquire_token_for_client(resource="https://graph.microsoft.com")
    if "secret" in wanted:
        credential = wanted["secret"]
    elif "certificate" in wanted:
        credential = {"private_key": wanted["key"], "public_certificate": wanted["certificate"]}
    else:
        credential = {"private_key": wanted["key"], "thumbprint": wanted["thumbprint"]}
    application = msal.ConfidentialClientApplication(
        wanted["client_id"],
        authority=wanted["authority"],
        client_credential=credential,
        http_client=session,
        instance_discovery=False,
    )
    return application.acquire_token_for_client(["https://graph.microsoft.com/.default"])


def main():
    wanted = json.load(sys.stdin)
    session = requests.Session()
    session.verify = wanted["ca"]
    session.trust_env = False
    result = token_of(wanted, session)
    if "access_token" not in result:
        print(json.dumps({"error": result.get("error"), "said": result.get("error_description")}))
        return
    headers = {"Authorization": "Bearer " + result["access_token"]}
    read = session.get(wanted["graph"] + "/v1.0/organization", headers=headers)
    print(json.dumps({"status": read.status_code, "organization": read.json()["value"][0]["displayName"]}))


main()
