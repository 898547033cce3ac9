"""The kind WorkflowWebhook: an address at which a service of others tells what happened there."""

from enum import StrEnum
from typing import Annotated, Any

from adze.core.model.base import FREE, Condition, Expression, Metadata, ObjectName, Record, Text, doc, rule


class WebhookScheme(StrEnum):
    """How a sender proves who it is."""

    HMAC = "HMAC"
    GITHUB = "GitHub"
    STRIPE = "Stripe"
    BASIC = "Basic"
    BEARER = "Bearer"


class SignatureEncoding(StrEnum):
    """How a signature is written."""

    HEX = "Hex"
    BASE64 = "Base64"


class SecretRef(Record, frozen=True, kw_only=True):
    """A Secret in the webhook's namespace."""

    name: Annotated[ObjectName, doc("Name of the Secret.")]
    key: (
        Annotated[
            str,
            doc(
                "Its key. Default: secret, for Bearer token; Basic takes username and password.",
                pattern=r"^[-._a-zA-Z0-9]+$",
                min_length=1,
                max_length=253,
            ),
        ]
        | None
    ) = None


class WebhookAuth(Record, frozen=True, kw_only=True):
    """How a delivery proves where it comes from."""

    type: Annotated[
        WebhookScheme,
        doc("HMAC (SHA-256 of the body in a header), GitHub, Stripe, Basic (user and password) or Bearer (a token)."),
    ]
    secret_ref: Annotated[SecretRef, doc("What sender and adze both know.")]
    header: (
        Annotated[
            str,
            doc(
                "HMAC only: the header that holds the signature. Default: X-Signature-256.",
                pattern=r"^[A-Za-z0-9-]+$",
                min_length=1,
                max_length=128,
            ),
        ]
        | None
    ) = None
    encoding: (
        Annotated[SignatureEncoding, doc("HMAC only: Hex (sha256= in front is allowed) or Base64. Default: Hex.")]
        | None
    ) = None


class WebhookSpec(Record, frozen=True, kw_only=True):
    """What event a delivery is. Expressions see request.body, request.headers (lower-case names) and request.digest."""

    auth: Annotated[
        WebhookAuth,
        doc(
            "How a delivery proves where it comes from.",
            **{
                "x-kubernetes-validations": [
                    rule(
                        "self.type == 'HMAC' || !(has(self.header) || has(self.encoding))",
                        "header and encoding are for the type HMAC",
                    )
                ]
            },
        ),
    ]
    filter: (
        Annotated[Expression, doc("CEL; a delivery for which it gives false is taken and makes no event.")] | None
    ) = None
    type: (
        Annotated[
            Text,
            doc("Type of the event; ${…} holds CEL. Default: github: or stripe: and theirs, else the webhook's name."),
        ]
        | None
    ) = None
    id: (
        Annotated[
            Text, doc("Id of the event; ${…} holds CEL. Default: GitHub's or Stripe's, else a digest of the body.")
        ]
        | None
    ) = None
    subject: Annotated[Text, doc("Subject of the event; ${…} holds CEL.")] | None = None
    data: Annotated[dict[str, Any], doc("Data of the event; ${…} holds CEL. Default: the body.", **FREE)] | None = None


class WebhookStatus(Record, frozen=True, kw_only=True):
    """Whether deliveries can be taken."""

    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Ready, Stalled.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            max_length=8,
        ),
    ] = ()


class Webhook(Record, frozen=True, kw_only=True):
    """An address of the gateway: the kind WorkflowWebhook."""

    metadata: Metadata
    spec: WebhookSpec
    status: WebhookStatus = WebhookStatus()
