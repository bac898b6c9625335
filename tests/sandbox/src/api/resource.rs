//! What is served, as a table: a new kind is one more entry.

use serde_json::Value;

/// How values are merged into a list by strategic merge patch. A list that is not named here is replaced.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Merge {
    /// Maps with the same value of this key are the same element.
    By(&'static str),
    /// A set of scalars.
    Set,
}

/// How a time is spelt.
#[derive(Clone, Copy)]
pub(super) enum Time {
    /// `metav1.Time`: RFC 3339, cut to seconds.
    Seconds,
    /// `metav1.MicroTime`: RFC 3339 with exactly six digits.
    Micros,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own of the real resource")]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// Whether `/status` is apart, and a write to the object itself leaves its status alone.
    pub(super) status: bool,
    /// `AllowUnconditionalUpdate` of its strategy: an update without resourceVersion.
    pub(super) unconditional_update: bool,
    /// `AllowCreateOnUpdate` of its strategy: an update of what is not there.
    pub(super) create_on_update: bool,
    /// Fields that a field selector may name, beside the name and the namespace.
    pub(super) selectable: &'static [&'static str],
    /// `patchStrategy` and `patchMergeKey` of its Go type.
    pub(super) merge: &'static [(&'static str, Merge)],
    /// Where times are; `[]` goes through a list.
    pub(super) times: &'static [(&'static str, Time)],
    /// Names of fields here and in what is stored, if this is another version of a stored resource.
    pub(super) renamed: &'static [(&'static str, &'static str)],
}

const METADATA: [(&str, Merge); 2] =
    [("metadata.ownerReferences", Merge::By("uid")), ("metadata.finalizers", Merge::Set)];

const BASE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short: &[],
    namespaced: true,
    status: false,
    unconditional_update: true,
    create_on_update: false,
    selectable: &[],
    merge: &METADATA,
    times: &[],
    renamed: &[],
};

const WORKLOAD: Resource = Resource { group: "apps", status: true, ..BASE };

const EVENT: Resource = Resource {
    kind: "Event",
    plural: "events",
    singular: "event",
    short: &["ev"],
    create_on_update: true,
    selectable: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    times: &[
        ("firstTimestamp", Time::Seconds),
        ("lastTimestamp", Time::Seconds),
        ("eventTime", Time::Micros),
        ("series.lastObservedTime", Time::Micros),
    ],
    ..BASE
};

pub(super) static RESOURCES: &[Resource] = &[
    Resource {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short: &["no"],
        namespaced: false,
        status: true,
        selectable: &["spec.unschedulable"],
        // Taints and images have no patchStrategy: they are replaced.
        merge: &[
            METADATA[0],
            METADATA[1],
            ("spec.podCIDRs", Merge::Set),
            ("status.conditions", Merge::By("type")),
            ("status.addresses", Merge::By("type")),
        ],
        times: &[
            ("spec.taints[].timeAdded", Time::Seconds),
            ("status.conditions[].lastHeartbeatTime", Time::Seconds),
            ("status.conditions[].lastTransitionTime", Time::Seconds),
        ],
        ..BASE
    },
    Resource {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short: &["ns"],
        namespaced: false,
        status: true,
        selectable: &["status.phase"],
        ..BASE
    },
    Resource {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        status: true,
        selectable: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "status.phase",
            "status.podIP",
        ],
        merge: &[
            METADATA[0],
            METADATA[1],
            ("spec.containers", Merge::By("name")),
            ("spec.volumes", Merge::By("name")),
            ("status.conditions", Merge::By("type")),
            ("status.podIPs", Merge::By("ip")),
            // hostIPs and containerStatuses are replaced.
        ],
        times: &[
            ("metadata.deletionTimestamp", Time::Seconds),
            ("status.startTime", Time::Seconds),
            ("status.conditions[].lastTransitionTime", Time::Seconds),
        ],
        ..BASE
    },
    Resource {
        kind: "Service",
        plural: "services",
        singular: "service",
        short: &["svc"],
        status: true,
        selectable: &["spec.clusterIP", "spec.type"],
        ..BASE
    },
    Resource {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        ..BASE
    },
    Resource { kind: "ConfigMap", plural: "configmaps", singular: "configmap", short: &["cm"], ..BASE },
    Resource {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        unconditional_update: false,
        create_on_update: true,
        times: &[("spec.acquireTime", Time::Micros), ("spec.renewTime", Time::Micros)],
        ..BASE
    },
    Resource {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short: &["pdb"],
        status: true,
        ..BASE
    },
    Resource {
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short: &["deploy"],
        ..WORKLOAD
    },
    Resource {
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short: &["rs"],
        ..WORKLOAD
    },
    Resource {
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short: &["sts"],
        ..WORKLOAD
    },
    Resource { kind: "DaemonSet", plural: "daemonsets", singular: "daemonset", short: &["ds"], ..WORKLOAD },
    Resource {
        kind: "PersistentVolume",
        plural: "persistentvolumes",
        singular: "persistentvolume",
        short: &["pv"],
        namespaced: false,
        status: true,
        ..BASE
    },
    Resource {
        kind: "PersistentVolumeClaim",
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        short: &["pvc"],
        status: true,
        ..BASE
    },
    Resource {
        group: "storage.k8s.io",
        kind: "VolumeAttachment",
        plural: "volumeattachments",
        singular: "volumeattachment",
        namespaced: false,
        status: true,
        ..BASE
    },
    Resource {
        group: "storage.k8s.io",
        kind: "CSINode",
        plural: "csinodes",
        singular: "csinode",
        namespaced: false,
        merge: &[METADATA[0], METADATA[1], ("spec.drivers", Merge::By("name"))],
        ..BASE
    },
    EVENT,
    Resource {
        group: "events.k8s.io",
        renamed: &[
            ("regarding", "involvedObject"),
            ("note", "message"),
            ("reportingController", "reportingComponent"),
            ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"),
            ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"),
        ],
        ..EVENT
    },
];

impl Resource {
    pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| one.group == group && one.version == version && one.plural == plural)
    }

    pub(super) fn of_plural(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| one.plural == plural)
    }

    pub(super) fn of_object(object: &Value) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| object["kind"] == one.kind && object["apiVersion"] == one.api_version())
    }

    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `leases.coordination.k8s.io`, as errors name it.
    pub(super) fn full_name(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// From what is sent to what is stored.
    pub(super) fn stored(&self, mut object: Value) -> Value {
        if !self.renamed.is_empty() {
            rename(&mut object, self.renamed.iter().copied());
            object["apiVersion"] = "v1".into();
        }
        object
    }

    /// From what is stored to what is sent.
    pub(super) fn served(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if !self.renamed.is_empty() {
            rename(&mut object, self.renamed.iter().map(|(here, stored)| (*stored, *here)));
            object["apiVersion"] = self.api_version().into();
        }
        object
    }
}

fn rename(object: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(object) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
}
