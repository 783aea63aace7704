"""Another library's judgement of tokens, and tokens of its own.

Standard input: {"jwks", "issuer", "audience", "tokens"}. Standard output: {"believed": one truth for each
token, "jwks", "tokens"}: its own keys, and one token of each algorithm.
"""

import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384"]


def believed(token, asked):
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        keys = jwt.PyJWKSet.from_dict(asked["jwks"]).keys
        [key] = [key for key in keys if kid is None or key.key_id == kid]
        jwt.decode(
            token,
            key.key,
            algorithms=ALGORITHMS,
            audience=asked["audience"],
            issuer=asked["issuer"],
            leeway=60,
            options={"require": ["exp", "iss", "aud"]},
        )
    except Exception:
        return False
    return True


def own(asked):
    pairs = {
        "their-rsa": (rsa.generate_private_key(65537, 2048), RSAAlgorithm, ["RS256", "PS256"]),
        "their-p256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm, ["ES256"]),
        "their-p384": (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm, ["ES384"]),
    }
    keys, tokens = [], []
    now = int(time.time())
    for kid, (private, family, algorithms) in pairs.items():
        jwk = family.to_jwk(private.public_key(), as_dict=True)
        keys.append(jwk | {"kid": kid, "use": "sig"})
        for algorithm in algorithms:
            said = {
                "iss": asked["issuer"],
                "aud": [asked["audience"], "urn:other"],
                "sub": algorithm,
                "iat": now,
                "nbf": now,
                "exp": now + 600,
                "groups": ["Finance", "Gr\u00fcn \U0001f511"],
            }
            tokens.append(jwt.encode(said, private, algorithm=algorithm, headers={"kid": kid}))
    return {"jwks": {"keys": keys}, "tokens": tokens}


asked = json.load(sys.stdin)
answer = own(asked) | {"believed": [believed(token, asked) for token in asked["tokens"]]}
json.dump(answer, sys.stdout)
