"""The cluster files against the parsers of those who read them: Ray's launcher, Kubernetes'
schemas, KubeRay's fields.
"""

import copy
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from bimix_sweep.config import SweepConfig

FOLDER = Path(__file__).resolve().parents[2] / "cluster_configs"
LAUNCHER = ("onprem", "aws", "gcp")
KUBERNETES = "1.33"

# Fields of KubeRay 1.5.1's custom resources (ray-operator/apis/ray/v1/*_types.go); pod templates
# are Kubernetes' own.
RAYJOB = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "rayClusterSpec",
    "submitterPodTemplate",
    "metadata",
    "clusterSelector",
    "submitterConfig",
    "managedBy",
    "deletionStrategy",
    "entrypoint",
    "runtimeEnvYAML",
    "jobId",
    "submissionMode",
    "entrypointResources",
    "entrypointNumCpus",
    "entrypointNumGpus",
    "ttlSecondsAfterFinished",
    "shutdownAfterJobFinishes",
    "suspend",
}
RAYCLUSTER = {
    "authOptions",
    "suspend",
    "managedBy",
    "autoscalerOptions",
    "headServiceAnnotations",
    "enableInTreeAutoscaling",
    "gcsFaultToleranceOptions",
    "headGroupSpec",
    "rayVersion",
    "workerGroupSpecs",
}
HEAD = {
    "template",
    "headService",
    "enableIngress",
    "resources",
    "labels",
    "rayStartParams",
    "serviceType",
}
WORKERS = {
    "suspend",
    "groupName",
    "replicas",
    "minReplicas",
    "maxReplicas",
    "idleTimeoutSeconds",
    "resources",
    "labels",
    "rayStartParams",
    "template",
    "scaleStrategy",
    "numOfHosts",
}
AUTOSCALER = {
    "resources",
    "image",
    "imagePullPolicy",
    "securityContext",
    "idleTimeoutSeconds",
    "upscalingMode",
    "version",
    "env",
    "envFrom",
    "volumeMounts",
}


def launcher(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def kuberay():
    return list(yaml.safe_load_all((FOLDER / "kuberay-rayjob.yaml").read_text()))


@pytest.mark.parametrize("name", LAUNCHER)
def test_rays_launcher_takes_the_file_and_refuses_it_with_a_misspelt_key(name):
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(launcher(name))))
    with pytest.raises(ValidationError, match="max_wrokers"):
        validate_config(prepare_config(launcher(name) | {"max_wrokers": 3}))


@pytest.mark.parametrize("name", LAUNCHER)
def test_every_node_of_a_launched_cluster_asks_for_the_token_and_shows_its_dashboard_to_itself_only(
    name,
):
    config = launcher(name)
    assert "~/.ray/auth_token" in config["file_mounts"]
    starts = [
        line
        for line in config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        if re.search(r"\bray start\b", line)
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_no_launcher_or_slurm_file_opens_a_dashboard_to_other_machines():
    for path in (*(FOLDER / f"{name}.yaml" for name in LAUNCHER), FOLDER / "slurm.sbatch"):
        assert re.findall(r"dashboard-host[= ]+(\S+)", path.read_text()) == ["127.0.0.1"], path.name


@pytest.mark.parametrize(
    ("name", "spot"), [("aws", {"MarketType": "spot"}), ("gcp", {"preemptible": True})]
)
def test_workers_are_spot_machines_and_the_head_is_not(name, spot):
    types = launcher(name)["available_node_types"]
    assert str(spot)[1:-1] in str(types["worker"]["node_config"])
    assert str(spot)[1:-1] not in str(types["head"]["node_config"])
    assert (
        types["head"]["resources"]["CPU"] == 0
    )  # a worker that goes away never takes the driver with it


def test_kuberay_knows_every_field_of_the_rayjob():
    job = kuberay()[0]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    for content, known in (
        (spec, RAYJOB),
        (cluster, RAYCLUSTER),
        (cluster["headGroupSpec"], HEAD),
        (cluster["autoscalerOptions"], AUTOSCALER),
        *((group, WORKERS) for group in cluster["workerGroupSpecs"]),
    ):
        assert set(content) <= known
    assert spec["submissionMode"] in {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}
    assert cluster["autoscalerOptions"]["upscalingMode"] in {
        "Default",
        "Aggressive",
        "Conservative",
    }
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert isinstance(yaml.safe_load(spec["runtimeEnvYAML"]), dict)


def test_kubernetes_takes_the_pods_and_the_network_policy_as_they_are():
    job, policy = kuberay()
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(
                {**pod, "spec": {**pod["spec"], "containters": []}}, KUBERNETES, strict=True
            )
    kubernetes_validate.validate(policy, KUBERNETES, strict=True)


def test_the_rayjobs_cluster_asks_for_the_token_and_is_closed_to_other_pods():
    job, policy = kuberay()
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert all(rule["from"] for rule in policy["spec"]["ingress"])
    assert not any(
        "RAY_AUTH_TOKEN" in str(document) for document in (job, policy)
    )  # the operator makes it


@pytest.mark.parametrize("name", ["sweep", "embedded"])
def test_the_example_sweeps_are_valid(name):
    config = SweepConfig.load(FOLDER / f"{name}.yaml")
    assert len(config.domains) > 1


def test_the_job_runs_the_sweep_that_is_mounted_and_goes_on_with_it_after_a_retry():
    job = kuberay()[0]["spec"]
    assert job["entrypoint"].split()[:4] == ["bimix-sweep", "run", "/config/sweep.yaml", "--resume"]
    assert job["backoffLimit"] > 0
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {m["mountPath"] for m in head["containers"][0]["volumeMounts"]} == {"/config"}


def test_the_readme_tells_everything_that_must_be_changed():
    marked = {
        path.name for path in FOLDER.iterdir() if path.is_file() and "# change" in path.read_text()
    }
    readme = (FOLDER / "README.md").read_text()
    assert {
        "sweep.yaml",
        "onprem.yaml",
        "aws.yaml",
        "gcp.yaml",
        "kuberay-rayjob.yaml",
        "slurm.sbatch",
    } <= marked
    for name in marked - {"README.md"}:
        assert f"`{name}`" in readme, name
