"""AWS behind one class: one region, as the user's own credentials show it. boto3's only door.

Credentials, profile and endpoint are AWS's own affair (AWS_PROFILE, AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, ~/.aws): nothing of them is read, kept or printed here. boto3 is imported when
AWS is first asked, for it takes half a second that no other provider should pay.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from soakbed.errors import ProvisionError
from soakbed.records.frozen import Frozen

__all__ = ["NO_ANSWER", "NO_CREDENTIALS", "AwsIdentity", "AwsRefused", "AwsRegion", "is_gone"]

# `AwsRefused.code` where no answer came at all: silence must never pass for "nothing there".
NO_ANSWER = "NoAnswer"
NO_CREDENTIALS = "NoCredentials"

_CONNECT_WITHIN_S = 10
_ANSWER_WITHIN_S = 60
_TRIES = 6  # of one call, with botocore's own growing pauses; throttled calls are common

# What AWS says where credentials are there, but are not (or no longer) good.
_BAD_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NOT_ALLOWED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_LOG_IN = (
    "log in as for the AWS command line (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY); `aws sts get-caller-identity` shows whether it worked"
)


class AwsRefused(ProvisionError):
    """AWS said no, or nothing. `code` is its own word for it, such as InsufficientInstanceCapacity.

    `NO_ANSWER` where no answer came, `NO_CREDENTIALS` where there was nothing to ask with.
    """

    def __init__(self, problem: str, *, remedy: str, code: str) -> None:
        super().__init__(problem, remedy=remedy)
        self.code = code


class AwsIdentity(Frozen):
    """Who asks: the account's number, and the full name of user or role."""

    account: str
    arn: str


class AwsRegion:
    """One region. Every call either answers or raises `AwsRefused`; none answers half."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()

    def identity(self) -> AwsIdentity:
        """Who we are to AWS; the cheapest proof that credentials work."""
        said = self.ask("sts", "get_caller_identity")
        return AwsIdentity(account=said["Account"], arn=said["Arn"])

    def ask(self, service: str, operation: str, **parameters: object) -> dict[str, Any]:
        """One call by boto3's names: `ask("ec2", "describe_instances", InstanceIds=[...])`."""
        with self._refusals(service, operation):
            answer: dict[str, Any] = getattr(self._client(service), operation)(**parameters)
        answer.pop("ResponseMetadata", None)
        return answer

    def all_of(
        self, service: str, operation: str, key: str, **parameters: object
    ) -> Iterator[dict[str, Any]]:
        """What lies below `key` on every page of an answer, where it has pages."""
        client = self._client(service)
        if not client.can_paginate(operation):
            yield from self.ask(service, operation, **parameters)[key]
            return
        with self._refusals(service, operation):
            for page in client.get_paginator(operation).paginate(**parameters):
                yield from page[key]

    def _client(self, service: str) -> Any:  # noqa: ANN401  (botocore makes its classes at run time)
        with self._making, self._refusals(service, "connect"):
            if service not in self._clients:
                import boto3
                from botocore.config import Config

                self._clients[service] = boto3.session.Session(region_name=self.name).client(
                    service,
                    config=Config(
                        connect_timeout=_CONNECT_WITHIN_S,
                        read_timeout=_ANSWER_WITHIN_S,
                        retries={"mode": "standard", "total_max_attempts": _TRIES},
                    ),
                )
            return self._clients[service]

    @contextmanager
    def _refusals(self, service: str, operation: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.name}: {service} {operation}"
        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            raise _refusal(where, told.get("Code", ""), told.get("Message", "")) from error
        except BotoCoreError as error:
            raise _silence(where, error) from error


def is_gone(refused: AwsRefused) -> bool:
    """Whether AWS says that the thing asked for is not there (any more)."""
    # InvalidInstanceID.NotFound, InvalidGroup.NotFound, InvalidPlacementGroup.Unknown,
    # InvalidRoute.NotFound, InvalidAssociationID.NotFound, Gateway.NotAttached, NoSuchBucket...
    code = refused.code
    return code.endswith(("NotFound", ".Unknown", ".NotAttached", "NotFoundException")) or code in {
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchEntity",
    }


def _refusal(where: str, code: str, message: str) -> AwsRefused:
    words = message.partition(" Encoded authorization failure message")[0]  # 1,000 letters of it
    problem = f"AWS refuses, {where}: {code or 'no code'}: {words}"
    if code in _BAD_CREDENTIALS:
        return AwsRefused(problem, remedy=_LOG_IN, code=code)
    if code in _NOT_ALLOWED:
        remedy = "give this user or role the permission named above; infra/README.md lists all"
        return AwsRefused(problem, remedy=remedy, code=code)
    if code == "OptInRequired":
        remedy = "enable this region for the account, or name another one (aws.region)"
        return AwsRefused(problem, remedy=remedy, code=code)
    return AwsRefused(problem, remedy="mend what AWS names, then run it again", code=code)


def _silence(where: str, error: Exception) -> AwsRefused:
    """What botocore raises before or instead of an answer."""
    kind = type(error).__name__
    if any(word in kind for word in ("Credential", "Profile", "SSO", "Token", "Login")):
        return AwsRefused(
            f"no AWS credentials, {where}: {error}", remedy=_LOG_IN, code=NO_CREDENTIALS
        )
    return AwsRefused(
        f"AWS did not answer, {where}: {error}",
        remedy="see that the region's name is right (aws.region) and that this machine reaches it",
        code=NO_ANSWER,
    )
