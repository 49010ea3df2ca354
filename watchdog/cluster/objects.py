"""The parts of Kubernetes objects that somebody here looks at, and where their kinds are served.

Shapes leave out what nobody needs: a namespace with a thousand pods is kept in memory. Unknown fields are ignored,
absent ones have the API's own defaults. Kinds of one provider alone stand beside that provider. This module must never
ask the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

O = TypeVar("O", bound="Object")  # noqa: E741 - an object of the API


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all; subclasses repeat the three words. Fields are written in Python's way here, in JSON's way there."""


class Owner(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `metadata.ownerReferences`."""

    kind: str
    name: str
    uid: str = ""
    controller: bool = False


class FieldManager(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `metadata.managedFields`, without the fields themselves."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    #: When it wrote last, in whole seconds (RFC 3339, UTC): texts that compare as the times do.
    time: str = ""


class Metadata(Shape, frozen=True, kw_only=True, rename="camel"):
    """`metadata` of any object. `resource_version` is the fence of a write; opaque, but comparable for equality."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()
    managed_fields: tuple[FieldManager, ...] = ()

    @property
    def controller(self) -> Owner | None:
        """Who owns it and manages it, such as a pod's ReplicaSet."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Object(Shape, frozen=True, kw_only=True, rename="camel"):
    """Any object."""

    metadata: Metadata

    @property
    def name(self) -> str:
        """Its name within the namespace."""
        return self.metadata.name


class Kind(msgspec.Struct, Generic[O], frozen=True, kw_only=True):
    """Where objects of a kind are served (`group` is empty for the core), and what is read of them."""

    group: str
    version: str
    plural: str
    name: str
    shape: type[O]

    def path(self, namespace: str, name: str | None = None) -> str:
        """The path of one object, or of all in a namespace (of all at all, with an empty one)."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"{root}/namespaces/{namespace}" if namespace else root
        return f"{place}/{self.plural}" + (f"/{name}" if name is not None else "")

    @property
    def api_version(self) -> str:
        """As it stands in an object: `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Condition(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `status.conditions`."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Container(Shape, frozen=True, kw_only=True, rename="camel"):
    """A container of a pod's or a template's spec."""

    name: str = ""
    image: str = ""


class PodSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a pod."""

    containers: tuple[Container, ...] = ()
    node_name: str = ""


class Waiting(Shape, frozen=True, kw_only=True, rename="camel"):
    """Why a container does not run yet, or any more: `CrashLoopBackOff`, `ImagePullBackOff`, and so on."""

    reason: str = ""
    message: str = ""


class Running(Shape, frozen=True, kw_only=True, rename="camel"):
    """Since when a container runs."""

    started_at: datetime | None = None


class Terminated(Shape, frozen=True, kw_only=True, rename="camel"):
    """How a container ended: `OOMKilled`, `Error`, `Completed`."""

    reason: str = ""
    exit_code: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Shape, frozen=True, kw_only=True, rename="camel"):
    """One of the three states of a container; none of them means waiting."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of a pod's `status.containerStatuses`. `image_id` ends with the digest once it was pulled."""

    name: str = ""
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Shape, frozen=True, kw_only=True, rename="camel"):
    """`status` of a pod."""

    phase: str = ""
    reason: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Object, frozen=True, kw_only=True, rename="camel"):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Whether it may take traffic: its Ready condition is true, and it is not on its way out."""
        if self.metadata.deletion_timestamp is not None:
            return False
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)


class EndpointConditions(Shape, frozen=True, kw_only=True, rename="camel"):
    """What is known of an endpoint; absent means unknown, which the API tells to take for ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Reference(Shape, frozen=True, kw_only=True, rename="camel"):
    """A reference to another object."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class Endpoint(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of an EndpointSlice."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: Reference | None = None

    @property
    def ready(self) -> bool:
        """Whether traffic is sent there."""
        return self.conditions.ready is not False


class EndpointPort(Shape, frozen=True, kw_only=True, rename="camel"):
    """A port of an EndpointSlice."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


class EndpointSlice(Object, frozen=True, kw_only=True, rename="camel"):
    """Where a Service's traffic goes. The label `kubernetes.io/service-name` names the Service."""

    endpoints: tuple[Endpoint, ...] | None = ()
    ports: tuple[EndpointPort, ...] | None = ()


class ServicePort(Shape, frozen=True, kw_only=True, rename="camel"):
    """A port of a Service."""

    name: str = ""
    port: int = 0
    target_port: int | str = 0
    protocol: str = "TCP"


class ServiceSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a Service."""

    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    type: str = "ClusterIP"


class Service(Object, frozen=True, kw_only=True, rename="camel"):
    """A Service."""

    spec: ServiceSpec = ServiceSpec()


#: Fields that are passed on as they came: a template is copied, never understood.
Json = dict[str, Any]


class Selector(Shape, frozen=True, kw_only=True, rename="camel"):
    """A label selector. Its expressions only narrow what `match_labels` finds; owners tell the rest."""

    match_labels: dict[str, str] = {}


class ReplicaSetSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a ReplicaSet. `template` is kept word for word: a copy of it must be exact."""

    replicas: int = 1
    template: Json = {}


class ReplicaSetStatus(Shape, frozen=True, kw_only=True, rename="camel"):
    """`status` of a ReplicaSet."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0


class ReplicaSet(Object, frozen=True, kw_only=True, rename="camel"):
    """A ReplicaSet: of a Deployment, one of the templates that it ever had."""

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdate(Shape, frozen=True, kw_only=True, rename="camel"):
    """How many pods a rolling update may add and take away at a time: a number, or a share such as `25%`."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


class DeploymentStrategy(Shape, frozen=True, kw_only=True, rename="camel"):
    """How a Deployment goes from one template to another: `RollingUpdate` or `Recreate`."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a Deployment. `template` is kept word for word. `progress_deadline_seconds` is `None` for never."""

    replicas: int = 1
    paused: bool = False
    strategy: DeploymentStrategy = DeploymentStrategy()
    template: Json = {}
    selector: Selector = Selector()
    progress_deadline_seconds: int | None = None
    revision_history_limit: int | None = None


class DeploymentStatus(Shape, frozen=True, kw_only=True, rename="camel"):
    """`status` of a Deployment: what its controller saw, and how far it is."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Object, frozen=True, kw_only=True, rename="camel"):
    """A Deployment."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


PODS: Final = Kind(group="", version="v1", plural="pods", name="Pod", shape=Pod)
SERVICES: Final = Kind(group="", version="v1", plural="services", name="Service", shape=Service)
DEPLOYMENTS: Final = Kind(
    group="apps", version="v1", plural="deployments", name="Deployment", shape=Deployment
)
REPLICA_SETS: Final = Kind(
    group="apps", version="v1", plural="replicasets", name="ReplicaSet", shape=ReplicaSet
)
ENDPOINT_SLICES: Final = Kind(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    name="EndpointSlice",
    shape=EndpointSlice,
)


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether an object with `labels` is selected; an empty selector selects nothing, as a Service's does."""
    return bool(wanted) and all(labels.get(name) == value for name, value in wanted.items())
