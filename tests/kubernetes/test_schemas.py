"""Every object is one that Kubernetes, or who defines its kind, takes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
from manifests import COMPONENTS, OVERLAYS, WORKLOADS, Object, named

Render = Callable[..., list[Object]]
VERSIONS = ("1.32", "1.34", "1.37")
EACH = [
    pytest.param(words, id="-".join(words))
    for words in [*((it,) for it in OVERLAYS), *(("trial", it) for it in COMPONENTS)]
]
# Kinds that are not Kubernetes' own, by models made of their definitions (KEDA 2.16, Prometheus' operator 0.80).
MODELS = {"ScaledObject": ScaledObject, "ServiceMonitor": ServiceMonitor}
# There is no package of its definition.
UNCHECKED = {"HTTPRoute"}


def _objections(objects: list[Object], version: str) -> list[str]:
    """What is wrong with objects of Kubernetes' own kinds; a field that is not in the schema is wrong, too."""
    found = []
    for it in objects:
        if it["kind"] not in {*MODELS, *UNCHECKED}:
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{it['kind']} {it['metadata']['name']}: {error.message}")
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("words", EACH)
def test_kubernetes_takes_it(render: Render, words: tuple[str, ...], version: str) -> None:
    """Each overlay, and each component, fits the schemas of three versions strictly."""
    assert _objections(render(*words), version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_is_none_is_seen(render: Render, version: str) -> None:
    """A field that Kubernetes does not know, and a value of another type, are objected to."""
    objects = deepcopy(render("trial"))
    workloads = named(objects, *WORKLOADS)
    workloads["gateway"]["spec"]["template"]["spec"]["containers"][0]["liveProbe"] = {}
    workloads["torchserve"]["spec"]["replicas"] = "two"
    found = _objections(objects, version)
    assert len(found) == 2
    assert "liveProbe" in found[0]
    assert "'two'" in found[1]


@pytest.mark.parametrize(("component", "kind"), [("autoscaling", "ScaledObject"), ("metrics", "ServiceMonitor")])
def test_an_operator_takes_it(render: Render, component: str, kind: str) -> None:
    """Its kind's definition takes the object, and knows each of its fields: none is lost on the way."""
    (it,) = named(render("trial", component), kind).values()
    assert _taken(kind, it) == it
    misspelt = {**it, "spec": {**it["spec"], "endpoint": [], "trigger": []}}
    assert _taken(kind, misspelt) != misspelt


def _taken(kind: str, it: Object) -> Object:
    found: Object = MODELS[kind].model_validate(it).model_dump(mode="json", by_alias=True, exclude_unset=True)
    return found


def test_each_kind_is_checked_by_something(render: Render) -> None:
    """Nothing but the Gateway API's route has no schema here; docs/kubernetes.md says so."""
    kinds = {it["kind"] for it in render("trial", *COMPONENTS)}
    assert kinds >= {*MODELS, *UNCHECKED}
