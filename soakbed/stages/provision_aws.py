"""spec -> hosts on AWS: who pays is asked first, what is made is written down before it is made.

Zones are tried in order. One that has not room for all hosts keeps none of them: what was made
there is unmade before the next is tried, and a testbed in parts never comes up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soakbed.adapters.aws import AwsRefused, AwsRegion
from soakbed.adapters.aws_companions import mark_companions
from soakbed.adapters.aws_console import console_host_keys
from soakbed.adapters.host_keys import ensure_operator_key, write_known_hosts
from soakbed.adapters.own_address import own_address
from soakbed.adapters.terraform import Applied, Progress, Terraform
from soakbed.archive.intent_log import IntentLog
from soakbed.archive.run_folder import write_whole
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import LeaseName
from soakbed.records.frozen import Frozen
from soakbed.records.places import Places
from soakbed.records.spec import TestbedSpec
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import AwsSpec
from soakbed.stages.aws_input import AwsAnswers, aws_tfvars
from soakbed.stages.cloud_notes import CloudNotes
from soakbed.stages.lease import held_lease, hold_lease
from soakbed.stages.shared_state import refuse_anothers_hosts
from soakbed.stages.teardown_aws import ZONE_FILE, unmake_on_aws
from soakbed.stages.zones import ZoneRefused, in_order, lack_of_capacity, nowhere

__all__ = ["make_on_aws"]

# Debian's image greets half a minute after its start, and shows its keys at the end of its boot.
_KEYS_SHOWN_WITHIN_S = 420.0
_KEYS = "console_keys.json"


class _Home(Frozen):
    """Where a testbed stands, or was last tried. `came_up`: all hosts of it did, there."""

    region: str
    zone: str
    came_up: bool = False


@dataclass(frozen=True, slots=True)
class _Maker:
    """One provision of one testbed."""

    spec: TestbedSpec
    aws: AwsSpec
    terraform: Terraform
    places: Places
    progress: Progress
    region: AwsRegion

    def make(self) -> tuple[Testbed, int]:
        home = self._home()
        self._say_who()
        lease = held_lease(self.places)
        own = [LeaseName(self.spec.name, lease.id)] if lease else []
        refuse_anothers_hosts(self.terraform, own)
        offers = self._offers()
        ensure_operator_key(self.places.state / "ssh", testbed=self.spec.name)
        types = frozenset(
            host.instance_type or self.aws.instance_type for host in self.spec.hosts.values()
        )
        zones, refused = in_order(
            [home.zone] if home.came_up else self.aws.zones,
            kept=home.zone,
            offers=offers,
            types=types,
        )
        for refusal in refused:
            self.progress(str(refusal))
        self._forget_damaged_state()
        operator = self._operator()
        for zone in zones:
            try:
                applied = self._apply(zone, operator)
            except ProvisionError as error:
                refusal = self._refusal(zone, error, came_up=home.came_up)
                self.progress(f"{refusal}; unmaking what was made there")
                self._unmake()
                refused.append(refusal)
            else:
                self._keep(_Home(region=self.aws.region, zone=zone, came_up=True))
                return self._described(applied), applied.touched
        (self.places.state / ZONE_FILE).unlink(missing_ok=True)
        raise nowhere(refused, hosts=len(self.spec.hosts))

    def _home(self) -> _Home:
        path = self.places.state / ZONE_FILE
        try:
            home = _Home.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return _Home(region=self.aws.region, zone="")
        except ValueError as error:
            raise ProvisionError(
                f"{path} cannot be read: {error}", remedy="tear the testbed down, then provision"
            ) from error
        if home.region != self.aws.region:
            raise ProvisionError(
                f"testbed {self.spec.name} stands in {home.region}, and its file now says "
                f"{self.aws.region}",
                remedy="tear it down first; what stays behind elsewhere would cost, unseen",
            )
        return home

    def _say_who(self) -> None:
        who = self.region.identity()
        self.progress(f"AWS account {who.account}, region {self.region.name}, as {who.arn}")

    def _offers(self) -> dict[str, frozenset[str]]:
        """Zone -> the instance types that it has at all. Raises where a zone is none of theirs."""
        listed = self.region.all_of("ec2", "describe_availability_zones", "AvailabilityZones")
        open_zones = {str(zone["ZoneName"]) for zone in listed if zone["State"] == "available"}
        if unknown := [zone for zone in self.aws.zones if zone not in open_zones]:
            raise ProvisionError(
                f"{self.region.name} has no zone {', '.join(unknown)} for this account",
                remedy=f"name some of {', '.join(sorted(open_zones))} (aws.zones)",
            )
        asked = {host.instance_type or self.aws.instance_type for host in self.spec.hosts.values()}
        offers: dict[str, set[str]] = {zone: set() for zone in open_zones}
        for offer in self.region.all_of(
            "ec2",
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": sorted(asked)}],
        ):
            offers.setdefault(str(offer["Location"]), set()).add(str(offer["InstanceType"]))
        return {zone: frozenset(types) for zone, types in offers.items()}

    def _operator(self) -> str:
        if self.aws.operator_cidr != "auto":
            return self.aws.operator_cidr
        # Asked every time: whoever has moved since shall be let in again, and the old place not.
        cidr = f"{own_address(self.places.checkip)}/32"
        self.progress(f"SSH is let in from {cidr} alone")
        return cidr

    def _forget_damaged_state(self) -> None:
        if self.terraform.is_damaged():
            self.progress("Terraform's state is damaged; the hosts are made again from nothing")
            self._unmake()
            self.terraform.forget()

    def _apply(self, zone: str, operator: str) -> Applied:
        lease = hold_lease(self.spec, self.places)
        assert lease is not None  # a cloud testbed always lives on one
        notes = CloudNotes(
            IntentLog.of(self.places), self.spec.name, lease.id, self.aws.region, self.progress
        )
        answers = AwsAnswers(
            zone=zone, operator_cidr=operator, lease_id=lease.id, destroy_after=lease.ends_s
        )
        tfvars = aws_tfvars(self.spec, answers, places=self.places)
        if not self._stands_in(zone):
            self._keep(_Home(region=self.aws.region, zone=zone))
        plan = self.terraform.plan(tfvars, progress=self.progress)
        notes.before(plan)
        if not plan.get("applyable", True):
            # Nothing to do, and it is not done: starting the provider once more takes seconds.
            outputs = plan["planned_values"]["outputs"]
            return Applied(0, 0, 0, 0, {name: told["value"] for name, told in outputs.items()})
        return self.terraform.apply_plan(progress=self.progress, tell=notes.tell)

    def _refusal(self, zone: str, error: ProvisionError, *, came_up: bool) -> ZoneRefused:
        """Why the next zone may be tried; raises where it may not."""
        refusal = lack_of_capacity(zone, error.problem)
        if refusal is None:
            raise error
        if came_up:
            raise ProvisionError(
                f"a host that is gone cannot be made again: {refusal}",
                remedy="wait and provision again; or tear down and provision, which may take "
                "another zone, and loses what is on the hosts",
            ) from error
        return refusal

    def _unmake(self) -> None:
        unmake_on_aws(
            self.spec, terraform=self.terraform, places=self.places, progress=self.progress
        )

    def _stands_in(self, zone: str) -> bool:
        home = self._home()
        return home.came_up and home.zone == zone

    def _keep(self, home: _Home) -> None:
        write_whole(self.places.state / ZONE_FILE, home.model_dump_json(indent=1) + "\n")

    def _described(self, applied: Applied) -> Testbed:
        testbed = Testbed.model_validate(applied.outputs["testbed"])
        if testbed.cloud is not None:
            self.progress(
                f"{len(testbed.hosts)} hosts in {testbed.cloud.zone}: "
                f"{', '.join(testbed.cloud.instance_types)}, for hours at most "
                f"{testbed.cloud.network_sustained_mbit} Mbit/s each"
            )
        self._mark_companions([host.instance_id for host in testbed.hosts.values()])
        keys = self._host_keys({name: host.instance_id for name, host in testbed.hosts.items()})
        write_known_hosts(
            Path(testbed.known_hosts_file),
            {
                tuple(dict.fromkeys((host.reached_at, host.address))): keys[name]
                for name, host in testbed.hosts.items()
            },
        )
        return testbed

    def _mark_companions(self, instances: list[str]) -> None:
        """They cost nothing and end with the rest, so that not to see them stops nothing."""
        lease = held_lease(self.places)
        assert lease is not None  # as in `_apply`
        try:
            mark_companions(self.region, LeaseName(self.spec.name, lease.id), instances)
        except AwsRefused as refused:
            self.progress(f"warning: what AWS makes beside hosts has no tags: {refused.problem}")

    def _host_keys(self, instances: Mapping[str, str]) -> dict[str, list[str]]:
        """Each host's keys. Those read once are kept: after hours a console has scrolled on."""
        kept_in = self.places.state / "ssh" / _KEYS
        known = _Kept.read(kept_in).keys
        unknown = {name: id for name, id in instances.items() if id not in known}
        read = console_host_keys(
            self.region, unknown, within_s=_KEYS_SHOWN_WITHIN_S, progress=self.progress
        )
        known |= {unknown[name]: keys for name, keys in read.items()}
        kept = _Kept(keys={id: known[id] for id in instances.values()})
        if read:
            write_whole(kept_in, kept.model_dump_json(indent=1) + "\n")
        return {name: known[id] for name, id in instances.items()}


class _Kept(Frozen):
    """Instance id -> its host keys, as its console once showed them."""

    keys: dict[str, list[str]] = {}

    @classmethod
    def read(cls, path: Path) -> _Kept:
        try:
            return cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return cls()  # they are on the consoles


def make_on_aws(
    spec: TestbedSpec, *, terraform: Terraform, places: Places, progress: Progress
) -> tuple[Testbed, int]:
    """All hosts of `spec` in one zone, known by their consoles' keys, and how much was changed.

    Raises AwsRefused before anything is made where credentials, region or permissions are wrong,
    ProvisionError where no zone has room for all; then nothing is left.
    """
    if spec.aws is None:
        raise ValueError(f"testbed {spec.name} is not for AWS")
    region = AwsRegion(spec.aws.region)
    return _Maker(spec, spec.aws, terraform, places, progress, region).make()
