/**
 * Long because it is a table: every field of every kind served. Generated from Kubernetes 1.36.3 by
 * test/sandbox/schema/main.go; types.ts reads it and says what a line means.
 */
export const TYPES_TABLE = `
admissionregistration.v1.AuditAnnotation
 1 key string zero required
 2 valueExpression string zero required
admissionregistration.v1.ExpressionWarning
 2 fieldRef string zero required
 3 warning string zero required
admissionregistration.v1.MatchCondition
 1 name string zero required
 2 expression string zero required
admissionregistration.v1.MatchResources atomic
 1 namespaceSelector meta.v1.LabelSelector
 2 objectSelector meta.v1.LabelSelector
 3 resourceRules []admissionregistration.v1.NamedRuleWithOperations omit list=atomic
 4 excludeResourceRules []admissionregistration.v1.NamedRuleWithOperations omit list=atomic
 7 matchPolicy string
admissionregistration.v1.NamedRuleWithOperations atomic
 1 resourceNames []string omit list=atomic
 2 - admissionregistration.v1.RuleWithOperations
admissionregistration.v1.ParamKind atomic
 1 apiVersion string omit
 2 kind string omit
admissionregistration.v1.ParamRef atomic
 1 name string omit
 2 namespace string omit
 3 selector meta.v1.LabelSelector
 4 parameterNotFoundAction string
admissionregistration.v1.Rule
 1 apiGroups []string omit
 2 apiVersions []string omit
 3 resources []string omit
 4 scope string
admissionregistration.v1.RuleWithOperations
 1 operations []string omit list=atomic
 2 - admissionregistration.v1.Rule
admissionregistration.v1.TypeChecking
 1 expressionWarnings []admissionregistration.v1.ExpressionWarning omit list=atomic
admissionregistration.v1.ValidatingAdmissionPolicy
 1 metadata meta.v1.ObjectMeta zero
 2 spec admissionregistration.v1.ValidatingAdmissionPolicySpec zero
 3 status admissionregistration.v1.ValidatingAdmissionPolicyStatus zero
admissionregistration.v1.ValidatingAdmissionPolicyBinding
 1 metadata meta.v1.ObjectMeta zero
 2 spec admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec zero required
admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec
 1 policyName string omit required
 2 paramRef admissionregistration.v1.ParamRef
 3 matchResources admissionregistration.v1.MatchResources
 4 validationActions []string omit required list=set
admissionregistration.v1.ValidatingAdmissionPolicySpec
 1 paramKind admissionregistration.v1.ParamKind
 2 matchConstraints admissionregistration.v1.MatchResources
 3 validations []admissionregistration.v1.Validation omit list=atomic
 4 failurePolicy string
 5 auditAnnotations []admissionregistration.v1.AuditAnnotation omit list=atomic
 6 matchConditions []admissionregistration.v1.MatchCondition omit patch=merge key=name list=map keys=name
 7 variables []admissionregistration.v1.Variable omit patch=merge key=name list=map keys=name
admissionregistration.v1.ValidatingAdmissionPolicyStatus
 1 observedGeneration int64 omit
 2 typeChecking admissionregistration.v1.TypeChecking
 3 conditions []meta.v1.Condition omit list=map keys=type
admissionregistration.v1.Validation
 1 expression string zero required
 2 message string omit
 3 reason string
 4 messageExpression string omit
admissionregistration.v1.Variable atomic
 1 name string zero required
 2 expression string zero required
apps.v1.Deployment
 1 metadata meta.v1.ObjectMeta zero
 2 spec apps.v1.DeploymentSpec zero
 3 status apps.v1.DeploymentStatus zero
apps.v1.DeploymentCondition
 1 type string zero required
 2 status string zero required
 6 lastUpdateTime time zero
 7 lastTransitionTime time zero
 4 reason string omit
 5 message string omit
apps.v1.DeploymentSpec
 1 replicas int32
 2 selector meta.v1.LabelSelector required
 3 template core.v1.PodTemplateSpec zero required
 4 strategy apps.v1.DeploymentStrategy zero patch=retainKeys
 5 minReadySeconds int32 omit
 6 revisionHistoryLimit int32
 7 paused bool omit
 9 progressDeadlineSeconds int32
apps.v1.DeploymentStatus
 1 observedGeneration int64 omit
 2 replicas int32 omit
 3 updatedReplicas int32 omit
 7 readyReplicas int32 omit
 4 availableReplicas int32 omit
 5 unavailableReplicas int32 omit
 9 terminatingReplicas int32
 6 conditions []apps.v1.DeploymentCondition omit patch=merge key=type list=map keys=type
 8 collisionCount int32
apps.v1.DeploymentStrategy
 1 type string omit
 2 rollingUpdate apps.v1.RollingUpdateDeployment
apps.v1.RollingUpdateDeployment
 1 maxUnavailable intorstring
 2 maxSurge intorstring
authentication.v1.BoundObjectReference
 1 kind string omit
 2 apiVersion string omit
 3 name string omit
 4 uid string omit
authentication.v1.SelfSubjectReview
 1 metadata meta.v1.ObjectMeta zero
 2 status authentication.v1.SelfSubjectReviewStatus zero
authentication.v1.SelfSubjectReviewStatus
 1 userInfo authentication.v1.UserInfo zero
authentication.v1.TokenRequest
 1 metadata meta.v1.ObjectMeta zero
 2 spec authentication.v1.TokenRequestSpec zero
 3 status authentication.v1.TokenRequestStatus zero
authentication.v1.TokenRequestSpec
 1 audiences []string zero list=atomic
 4 expirationSeconds int64
 3 boundObjectRef authentication.v1.BoundObjectReference
authentication.v1.TokenRequestStatus
 1 token string zero
 2 expirationTimestamp time zero
authentication.v1.TokenReview
 1 metadata meta.v1.ObjectMeta zero
 2 spec authentication.v1.TokenReviewSpec zero required
 3 status authentication.v1.TokenReviewStatus zero
authentication.v1.TokenReviewSpec
 1 token string omit required
 2 audiences []string omit list=atomic
authentication.v1.TokenReviewStatus
 1 authenticated bool omit
 2 user authentication.v1.UserInfo zero
 4 audiences []string omit list=atomic
 3 error string omit
authentication.v1.UserInfo
 1 username string omit
 2 uid string omit
 3 groups []string omit list=atomic
 4 extra {}strings omit
authorization.v1.FieldSelectorAttributes
 1 rawSelector string omit
 2 requirements []meta.v1.FieldSelectorRequirement omit list=atomic
authorization.v1.LabelSelectorAttributes
 1 rawSelector string omit
 2 requirements []meta.v1.LabelSelectorRequirement omit list=atomic
authorization.v1.LocalSubjectAccessReview
 1 metadata meta.v1.ObjectMeta zero
 2 spec authorization.v1.SubjectAccessReviewSpec zero required
 3 status authorization.v1.SubjectAccessReviewStatus zero
authorization.v1.NonResourceAttributes
 1 path string omit
 2 verb string omit
authorization.v1.NonResourceRule
 1 verbs []string zero required list=atomic
 2 nonResourceURLs []string omit list=atomic
authorization.v1.ResourceAttributes
 1 namespace string omit
 2 verb string omit
 3 group string omit
 4 version string omit
 5 resource string omit
 6 subresource string omit
 7 name string omit
 8 fieldSelector authorization.v1.FieldSelectorAttributes
 9 labelSelector authorization.v1.LabelSelectorAttributes
authorization.v1.ResourceRule
 1 verbs []string zero required list=atomic
 2 apiGroups []string omit list=atomic
 3 resources []string omit list=atomic
 4 resourceNames []string omit list=atomic
authorization.v1.SelfSubjectAccessReview
 1 metadata meta.v1.ObjectMeta zero
 2 spec authorization.v1.SelfSubjectAccessReviewSpec zero required
 3 status authorization.v1.SubjectAccessReviewStatus zero
authorization.v1.SelfSubjectAccessReviewSpec
 1 resourceAttributes authorization.v1.ResourceAttributes
 2 nonResourceAttributes authorization.v1.NonResourceAttributes
authorization.v1.SelfSubjectRulesReview
 1 metadata meta.v1.ObjectMeta zero
 2 spec authorization.v1.SelfSubjectRulesReviewSpec zero required
 3 status authorization.v1.SubjectRulesReviewStatus zero
authorization.v1.SelfSubjectRulesReviewSpec
 1 namespace string omit
authorization.v1.SubjectAccessReview
 1 metadata meta.v1.ObjectMeta zero
 2 spec authorization.v1.SubjectAccessReviewSpec zero required
 3 status authorization.v1.SubjectAccessReviewStatus zero
authorization.v1.SubjectAccessReviewSpec
 1 resourceAttributes authorization.v1.ResourceAttributes
 2 nonResourceAttributes authorization.v1.NonResourceAttributes
 3 user string omit
 4 groups []string omit list=atomic
 5 extra {}strings omit
 6 uid string omit
authorization.v1.SubjectAccessReviewStatus
 1 allowed bool zero required
 4 denied bool omit
 2 reason string omit
 3 evaluationError string omit
authorization.v1.SubjectRulesReviewStatus
 1 resourceRules []authorization.v1.ResourceRule zero required list=atomic
 2 nonResourceRules []authorization.v1.NonResourceRule zero required list=atomic
 3 incomplete bool zero required
 4 evaluationError string omit
autoscaling.v1.Scale
 1 metadata meta.v1.ObjectMeta zero
 2 spec autoscaling.v1.ScaleSpec zero
 3 status autoscaling.v1.ScaleStatus zero
autoscaling.v1.ScaleSpec
 1 replicas int32 omit
autoscaling.v1.ScaleStatus
 1 replicas int32 zero required
 2 selector string omit
batch.v1.Job
 1 metadata meta.v1.ObjectMeta zero
 2 spec batch.v1.JobSpec zero
 3 status batch.v1.JobStatus zero
batch.v1.JobCondition
 1 type string zero required
 2 status string zero required
 3 lastProbeTime time zero
 4 lastTransitionTime time zero
 5 reason string omit
 6 message string omit
batch.v1.JobSpec
 1 parallelism int32
 2 completions int32
 3 activeDeadlineSeconds int64
 11 podFailurePolicy batch.v1.PodFailurePolicy
 16 successPolicy batch.v1.SuccessPolicy
 7 backoffLimit int32
 12 backoffLimitPerIndex int32
 13 maxFailedIndexes int32
 4 selector meta.v1.LabelSelector
 5 manualSelector bool
 6 template core.v1.PodTemplateSpec zero required
 8 ttlSecondsAfterFinished int32
 9 completionMode string
 10 suspend bool
 14 podReplacementPolicy string
 15 managedBy string
batch.v1.JobStatus
 1 conditions []batch.v1.JobCondition omit patch=merge key=type list=atomic
 2 startTime time
 3 completionTime time
 4 active int32 omit
 5 succeeded int32 omit
 6 failed int32 omit
 11 terminating int32
 7 completedIndexes string omit
 10 failedIndexes string
 8 uncountedTerminatedPods batch.v1.UncountedTerminatedPods
 9 ready int32
batch.v1.PodFailurePolicy
 1 rules []batch.v1.PodFailurePolicyRule zero required list=atomic
batch.v1.PodFailurePolicyOnExitCodesRequirement
 1 containerName string
 2 operator string zero required
 3 values []int32 zero required list=set
batch.v1.PodFailurePolicyOnPodConditionsPattern
 1 type string zero required
 2 status string zero
batch.v1.PodFailurePolicyRule
 1 action string zero required
 2 onExitCodes batch.v1.PodFailurePolicyOnExitCodesRequirement
 3 onPodConditions []batch.v1.PodFailurePolicyOnPodConditionsPattern omit list=atomic
batch.v1.SuccessPolicy
 1 rules []batch.v1.SuccessPolicyRule zero required list=atomic
batch.v1.SuccessPolicyRule
 1 succeededIndexes string
 2 succeededCount int32
batch.v1.UncountedTerminatedPods
 1 succeeded []string omit list=set
 2 failed []string omit list=set
coordination.v1.Lease
 1 metadata meta.v1.ObjectMeta zero
 2 spec coordination.v1.LeaseSpec zero
coordination.v1.LeaseSpec
 1 holderIdentity string
 2 leaseDurationSeconds int32
 3 acquireTime microtime
 4 renewTime microtime
 5 leaseTransitions int32
 6 strategy string
 7 preferredHolder string
core.v1.AWSElasticBlockStoreVolumeSource
 1 volumeID string zero required
 2 fsType string omit
 3 partition int32 omit
 4 readOnly bool omit
core.v1.Affinity
 1 nodeAffinity core.v1.NodeAffinity
 2 podAffinity core.v1.PodAffinity
 3 podAntiAffinity core.v1.PodAntiAffinity
core.v1.AppArmorProfile
 1 type string zero required
 2 localhostProfile string
core.v1.AttachedVolume
 1 name string zero required
 2 devicePath string zero required
core.v1.AzureDiskVolumeSource
 1 diskName string zero required
 2 diskURI string zero required
 3 cachingMode string default=ReadWrite
 4 fsType string default=ext4
 5 readOnly bool
 6 kind string default=Shared
core.v1.AzureFileVolumeSource
 1 secretName string zero required
 2 shareName string zero required
 3 readOnly bool omit
core.v1.CSIVolumeSource
 1 driver string zero required
 2 readOnly bool
 3 fsType string
 4 volumeAttributes {}string omit
 5 nodePublishSecretRef core.v1.LocalObjectReference
core.v1.Capabilities
 1 add []string omit list=atomic
 2 drop []string omit list=atomic
core.v1.CephFSVolumeSource
 1 monitors []string zero required list=atomic
 2 path string omit
 3 user string omit
 4 secretFile string omit
 5 secretRef core.v1.LocalObjectReference
 6 readOnly bool omit
core.v1.CinderVolumeSource
 1 volumeID string zero required
 2 fsType string omit
 3 readOnly bool omit
 4 secretRef core.v1.LocalObjectReference
core.v1.ClientIPConfig
 1 timeoutSeconds int32
core.v1.ClusterTrustBundleProjection
 1 name string
 2 signerName string
 3 labelSelector meta.v1.LabelSelector
 5 optional bool
 4 path string zero required
core.v1.ConfigMap
 1 metadata meta.v1.ObjectMeta zero
 4 immutable bool
 2 data {}string omit
 3 binaryData {}bytes omit
core.v1.ConfigMapEnvSource
 1 - core.v1.LocalObjectReference
 2 optional bool
core.v1.ConfigMapKeySelector atomic
 1 - core.v1.LocalObjectReference
 2 key string zero required
 3 optional bool
core.v1.ConfigMapNodeConfigSource
 1 namespace string zero required
 2 name string zero required
 3 uid string omit
 4 resourceVersion string omit
 5 kubeletConfigKey string zero required
core.v1.ConfigMapProjection
 1 - core.v1.LocalObjectReference
 2 items []core.v1.KeyToPath omit list=atomic
 4 optional bool
core.v1.ConfigMapVolumeSource
 1 - core.v1.LocalObjectReference
 2 items []core.v1.KeyToPath omit list=atomic
 3 defaultMode int32
 4 optional bool
core.v1.Container
 1 name string zero required
 2 image string omit
 3 command []string omit list=atomic
 4 args []string omit list=atomic
 5 workingDir string omit
 6 ports []core.v1.ContainerPort omit patch=merge key=containerPort list=map keys=containerPort,protocol
 19 envFrom []core.v1.EnvFromSource omit list=atomic
 7 env []core.v1.EnvVar omit patch=merge key=name list=map keys=name
 8 resources core.v1.ResourceRequirements zero
 23 resizePolicy []core.v1.ContainerResizePolicy omit list=atomic
 24 restartPolicy string
 25 restartPolicyRules []core.v1.ContainerRestartRule omit list=atomic
 9 volumeMounts []core.v1.VolumeMount omit patch=merge key=mountPath list=map keys=mountPath
 21 volumeDevices []core.v1.VolumeDevice omit patch=merge key=devicePath list=map keys=devicePath
 10 livenessProbe core.v1.Probe
 11 readinessProbe core.v1.Probe
 22 startupProbe core.v1.Probe
 12 lifecycle core.v1.Lifecycle
 13 terminationMessagePath string omit
 20 terminationMessagePolicy string omit
 14 imagePullPolicy string omit
 15 securityContext core.v1.SecurityContext
 16 stdin bool omit
 17 stdinOnce bool omit
 18 tty bool omit
core.v1.ContainerExtendedResourceRequest
 1 containerName string zero required
 2 resourceName string zero required
 3 requestName string zero required
core.v1.ContainerImage
 1 names []string zero list=atomic
 2 sizeBytes int64 omit
core.v1.ContainerPort
 1 name string omit
 2 hostPort int32 omit
 3 containerPort int32 zero required
 4 protocol string omit default=TCP
 5 hostIP string omit
core.v1.ContainerResizePolicy
 1 resourceName string zero required
 2 restartPolicy string zero required
core.v1.ContainerRestartRule
 1 action string omit required
 2 exitCodes core.v1.ContainerRestartRuleOnExitCodes
core.v1.ContainerRestartRuleOnExitCodes
 1 operator string omit required
 2 values []int32 omit list=set
core.v1.ContainerState
 1 waiting core.v1.ContainerStateWaiting
 2 running core.v1.ContainerStateRunning
 3 terminated core.v1.ContainerStateTerminated
core.v1.ContainerStateRunning
 1 startedAt time zero
core.v1.ContainerStateTerminated
 1 exitCode int32 zero required
 2 signal int32 omit
 3 reason string omit
 4 message string omit
 5 startedAt time zero
 6 finishedAt time zero
 7 containerID string omit
core.v1.ContainerStateWaiting
 1 reason string omit
 2 message string omit
core.v1.ContainerStatus
 1 name string zero required
 2 state core.v1.ContainerState zero
 3 lastState core.v1.ContainerState zero
 4 ready bool zero required
 5 restartCount int32 zero required
 6 image string zero required
 7 imageID string zero required
 8 containerID string omit
 9 started bool
 10 allocatedResources {}quantity omit
 11 resources core.v1.ResourceRequirements
 12 volumeMounts []core.v1.VolumeMountStatus omit patch=merge key=mountPath list=map keys=mountPath
 13 user core.v1.ContainerUser
 14 allocatedResourcesStatus []core.v1.ResourceStatus omit patch=merge key=name list=map keys=name
 15 stopSignal string
core.v1.ContainerUser
 1 linux core.v1.LinuxContainerUser
core.v1.DaemonEndpoint
 1 Port int32 zero required
core.v1.DownwardAPIProjection
 1 items []core.v1.DownwardAPIVolumeFile omit list=atomic
core.v1.DownwardAPIVolumeFile
 1 path string zero required
 2 fieldRef core.v1.ObjectFieldSelector
 3 resourceFieldRef core.v1.ResourceFieldSelector
 4 mode int32
core.v1.DownwardAPIVolumeSource
 1 items []core.v1.DownwardAPIVolumeFile omit list=atomic
 2 defaultMode int32
core.v1.EmptyDirVolumeSource
 1 medium string omit
 2 sizeLimit quantity
core.v1.EnvFromSource
 1 prefix string omit
 2 configMapRef core.v1.ConfigMapEnvSource
 3 secretRef core.v1.SecretEnvSource
core.v1.EnvVar
 1 name string zero required
 2 value string omit
 3 valueFrom core.v1.EnvVarSource
core.v1.EnvVarSource
 1 fieldRef core.v1.ObjectFieldSelector
 2 resourceFieldRef core.v1.ResourceFieldSelector
 3 configMapKeyRef core.v1.ConfigMapKeySelector
 4 secretKeyRef core.v1.SecretKeySelector
 5 fileKeyRef core.v1.FileKeySelector
core.v1.EphemeralContainer
 1 - core.v1.EphemeralContainerCommon
 2 targetContainerName string omit
core.v1.EphemeralContainerCommon
 1 name string zero
 2 image string omit
 3 command []string omit
 4 args []string omit
 5 workingDir string omit
 6 ports []core.v1.ContainerPort omit patch=merge key=containerPort
 19 envFrom []core.v1.EnvFromSource omit
 7 env []core.v1.EnvVar omit patch=merge key=name
 8 resources core.v1.ResourceRequirements zero
 23 resizePolicy []core.v1.ContainerResizePolicy omit
 24 restartPolicy string
 25 restartPolicyRules []core.v1.ContainerRestartRule omit
 9 volumeMounts []core.v1.VolumeMount omit patch=merge key=mountPath
 21 volumeDevices []core.v1.VolumeDevice omit patch=merge key=devicePath
 10 livenessProbe core.v1.Probe
 11 readinessProbe core.v1.Probe
 22 startupProbe core.v1.Probe
 12 lifecycle core.v1.Lifecycle
 13 terminationMessagePath string omit
 20 terminationMessagePolicy string omit
 14 imagePullPolicy string omit
 15 securityContext core.v1.SecurityContext
 16 stdin bool omit
 17 stdinOnce bool omit
 18 tty bool omit
core.v1.EphemeralVolumeSource
 1 volumeClaimTemplate core.v1.PersistentVolumeClaimTemplate
core.v1.Event
 1 metadata meta.v1.ObjectMeta zero required
 2 involvedObject core.v1.ObjectReference zero required
 3 reason string omit
 4 message string omit
 5 source core.v1.EventSource zero
 6 firstTimestamp time zero
 7 lastTimestamp time zero
 8 count int32 omit
 9 type string omit
 10 eventTime microtime zero
 11 series core.v1.EventSeries
 12 action string omit
 13 related core.v1.ObjectReference
 14 reportingComponent string zero
 15 reportingInstance string zero
core.v1.EventSeries
 1 count int32 omit
 2 lastObservedTime microtime zero
core.v1.EventSource
 1 component string omit
 2 host string omit
core.v1.ExecAction
 1 command []string omit list=atomic
core.v1.FCVolumeSource
 1 targetWWNs []string omit list=atomic
 2 lun int32
 3 fsType string omit
 4 readOnly bool omit
 5 wwids []string omit list=atomic
core.v1.FileKeySelector atomic
 1 volumeName string zero required
 2 path string zero required
 3 key string zero required
 4 optional bool
core.v1.FlexVolumeSource
 1 driver string zero required
 2 fsType string omit
 3 secretRef core.v1.LocalObjectReference
 4 readOnly bool omit
 5 options {}string omit
core.v1.FlockerVolumeSource
 1 datasetName string omit
 2 datasetUUID string omit
core.v1.GCEPersistentDiskVolumeSource
 1 pdName string zero required
 2 fsType string omit
 3 partition int32 omit
 4 readOnly bool omit
core.v1.GRPCAction
 1 port int32 zero required
 2 service string
core.v1.GitRepoVolumeSource
 1 repository string zero required
 2 revision string omit
 3 directory string omit
core.v1.GlusterfsVolumeSource
 1 endpoints string zero required
 2 path string zero required
 3 readOnly bool omit
core.v1.HTTPGetAction
 1 path string omit
 2 port intorstring zero required
 3 host string omit
 4 scheme string omit
 5 httpHeaders []core.v1.HTTPHeader omit list=atomic
core.v1.HTTPHeader
 1 name string zero required
 2 value string zero required
core.v1.HostAlias
 1 ip string zero required
 2 hostnames []string omit list=atomic
core.v1.HostIP
 1 ip string zero required
core.v1.HostPathVolumeSource
 1 path string zero required
 2 type string
core.v1.ISCSIVolumeSource
 1 targetPortal string zero required
 2 iqn string zero required
 3 lun int32 zero required
 4 iscsiInterface string omit default=default
 5 fsType string omit
 6 readOnly bool omit
 7 portals []string omit list=atomic
 8 chapAuthDiscovery bool omit
 11 chapAuthSession bool omit
 10 secretRef core.v1.LocalObjectReference
 12 initiatorName string
core.v1.ImageVolumeSource
 1 reference string omit
 2 pullPolicy string omit
core.v1.ImageVolumeStatus
 1 imageRef string omit required
core.v1.KeyToPath
 1 key string zero required
 2 path string zero required
 3 mode int32
core.v1.Lifecycle
 1 postStart core.v1.LifecycleHandler
 2 preStop core.v1.LifecycleHandler
 3 stopSignal string
core.v1.LifecycleHandler
 1 exec core.v1.ExecAction
 2 httpGet core.v1.HTTPGetAction
 3 tcpSocket core.v1.TCPSocketAction
 4 sleep core.v1.SleepAction
core.v1.LinuxContainerUser
 1 uid int64 zero required
 2 gid int64 zero required
 3 supplementalGroups []int64 omit list=atomic
core.v1.LoadBalancerIngress
 1 ip string omit
 2 hostname string omit
 3 ipMode string
 4 ports []core.v1.PortStatus omit list=atomic
core.v1.LoadBalancerStatus
 1 ingress []core.v1.LoadBalancerIngress omit list=atomic
core.v1.LocalObjectReference atomic
 1 name string omit
core.v1.NFSVolumeSource
 1 server string zero required
 2 path string zero required
 3 readOnly bool omit
core.v1.Namespace
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.NamespaceSpec zero
 3 status core.v1.NamespaceStatus zero
core.v1.NamespaceCondition
 1 type string zero required
 2 status string zero required
 4 lastTransitionTime time zero
 5 reason string omit
 6 message string omit
core.v1.NamespaceSpec
 1 finalizers []string omit list=atomic
core.v1.NamespaceStatus
 1 phase string omit
 2 conditions []core.v1.NamespaceCondition omit patch=merge key=type list=map keys=type
core.v1.Node
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.NodeSpec zero
 3 status core.v1.NodeStatus zero
core.v1.NodeAddress
 1 type string zero required
 2 address string zero required
core.v1.NodeAffinity
 1 requiredDuringSchedulingIgnoredDuringExecution core.v1.NodeSelector
 2 preferredDuringSchedulingIgnoredDuringExecution []core.v1.PreferredSchedulingTerm omit list=atomic
core.v1.NodeAllocatableResourceClaimStatus
 1 resourceClaimName string zero required
 2 containers []string omit list=set
 3 resources {}quantity zero required
core.v1.NodeCondition
 1 type string zero required
 2 status string zero required
 3 lastHeartbeatTime time zero
 4 lastTransitionTime time zero
 5 reason string omit
 6 message string omit
core.v1.NodeConfigSource
 2 configMap core.v1.ConfigMapNodeConfigSource
core.v1.NodeConfigStatus
 1 assigned core.v1.NodeConfigSource
 2 active core.v1.NodeConfigSource
 3 lastKnownGood core.v1.NodeConfigSource
 4 error string omit
core.v1.NodeDaemonEndpoints
 1 kubeletEndpoint core.v1.DaemonEndpoint zero
core.v1.NodeFeatures
 1 supplementalGroupsPolicy bool
core.v1.NodeRuntimeHandler
 1 name string zero
 2 features core.v1.NodeRuntimeHandlerFeatures
core.v1.NodeRuntimeHandlerFeatures
 1 recursiveReadOnlyMounts bool
 2 userNamespaces bool
core.v1.NodeSelector atomic
 1 nodeSelectorTerms []core.v1.NodeSelectorTerm zero required list=atomic
core.v1.NodeSelectorRequirement
 1 key string zero required
 2 operator string zero required
 3 values []string omit list=atomic
core.v1.NodeSelectorTerm atomic
 1 matchExpressions []core.v1.NodeSelectorRequirement omit list=atomic
 2 matchFields []core.v1.NodeSelectorRequirement omit list=atomic
core.v1.NodeSpec
 1 podCIDR string omit
 7 podCIDRs []string omit patch=merge list=set
 3 providerID string omit
 4 unschedulable bool omit
 5 taints []core.v1.Taint omit list=atomic
 6 configSource core.v1.NodeConfigSource
 2 externalID string omit
core.v1.NodeStatus
 1 capacity {}quantity omit
 2 allocatable {}quantity omit
 3 phase string omit
 4 conditions []core.v1.NodeCondition omit patch=merge key=type list=map keys=type
 5 addresses []core.v1.NodeAddress omit patch=merge key=type list=map keys=type
 6 daemonEndpoints core.v1.NodeDaemonEndpoints zero
 7 nodeInfo core.v1.NodeSystemInfo zero
 8 images []core.v1.ContainerImage omit list=atomic
 9 volumesInUse []string omit list=atomic
 10 volumesAttached []core.v1.AttachedVolume omit list=atomic
 11 config core.v1.NodeConfigStatus
 12 runtimeHandlers []core.v1.NodeRuntimeHandler omit list=atomic
 13 features core.v1.NodeFeatures
 14 declaredFeatures []string omit list=atomic
core.v1.NodeSwapStatus
 1 capacity int64
core.v1.NodeSystemInfo
 1 machineID string zero required
 2 systemUUID string zero required
 3 bootID string zero required
 4 kernelVersion string zero required
 5 osImage string zero required
 6 containerRuntimeVersion string zero required
 7 kubeletVersion string zero required
 8 kubeProxyVersion string zero required
 9 operatingSystem string zero required
 10 architecture string zero required
 11 swap core.v1.NodeSwapStatus
core.v1.ObjectFieldSelector atomic
 1 apiVersion string omit
 2 fieldPath string zero required
core.v1.ObjectReference atomic
 1 kind string omit
 2 namespace string omit
 3 name string omit
 4 uid string omit
 5 apiVersion string omit
 6 resourceVersion string omit
 7 fieldPath string omit
core.v1.PersistentVolumeClaimSpec
 1 accessModes []string omit list=atomic
 4 selector meta.v1.LabelSelector
 2 resources core.v1.VolumeResourceRequirements zero
 3 volumeName string omit
 5 storageClassName string
 6 volumeMode string
 7 dataSource core.v1.TypedLocalObjectReference
 8 dataSourceRef core.v1.TypedObjectReference
 9 volumeAttributesClassName string
core.v1.PersistentVolumeClaimTemplate
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.PersistentVolumeClaimSpec zero required
core.v1.PersistentVolumeClaimVolumeSource
 1 claimName string zero required
 2 readOnly bool omit
core.v1.PhotonPersistentDiskVolumeSource
 1 pdID string zero required
 2 fsType string omit
core.v1.Pod
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.PodSpec zero
 3 status core.v1.PodStatus zero
core.v1.PodAffinity
 1 requiredDuringSchedulingIgnoredDuringExecution []core.v1.PodAffinityTerm omit list=atomic
 2 preferredDuringSchedulingIgnoredDuringExecution []core.v1.WeightedPodAffinityTerm omit list=atomic
core.v1.PodAffinityTerm
 1 labelSelector meta.v1.LabelSelector
 2 namespaces []string omit list=atomic
 3 topologyKey string zero required
 4 namespaceSelector meta.v1.LabelSelector
 5 matchLabelKeys []string omit list=atomic
 6 mismatchLabelKeys []string omit list=atomic
core.v1.PodAntiAffinity
 1 requiredDuringSchedulingIgnoredDuringExecution []core.v1.PodAffinityTerm omit list=atomic
 2 preferredDuringSchedulingIgnoredDuringExecution []core.v1.WeightedPodAffinityTerm omit list=atomic
core.v1.PodCertificateProjection
 1 signerName string omit required
 2 keyType string omit required
 3 maxExpirationSeconds int32
 4 credentialBundlePath string omit
 5 keyPath string omit
 6 certificateChainPath string omit
 7 userAnnotations {}string omit
core.v1.PodCondition
 1 type string zero required
 7 observedGeneration int64 omit
 2 status string zero required
 3 lastProbeTime time zero
 4 lastTransitionTime time zero
 5 reason string omit
 6 message string omit
core.v1.PodDNSConfig
 1 nameservers []string omit list=atomic
 2 searches []string omit list=atomic
 3 options []core.v1.PodDNSConfigOption omit list=atomic
core.v1.PodDNSConfigOption
 1 name string omit
 2 value string
core.v1.PodExtendedResourceClaimStatus
 1 requestMappings []core.v1.ContainerExtendedResourceRequest zero required list=atomic
 2 resourceClaimName string zero required
core.v1.PodIP
 1 ip string zero required
core.v1.PodOS
 1 name string zero required
core.v1.PodReadinessGate
 1 conditionType string zero required
core.v1.PodResourceClaim
 1 name string zero required
 3 resourceClaimName string
 4 resourceClaimTemplateName string
core.v1.PodResourceClaimStatus
 1 name string zero required
 2 resourceClaimName string
core.v1.PodSchedulingGate
 1 name string zero required
core.v1.PodSchedulingGroup
 1 podGroupName string
core.v1.PodSecurityContext
 1 seLinuxOptions core.v1.SELinuxOptions
 8 windowsOptions core.v1.WindowsSecurityContextOptions
 2 runAsUser int64
 6 runAsGroup int64
 3 runAsNonRoot bool
 4 supplementalGroups []int64 omit list=atomic
 12 supplementalGroupsPolicy string
 5 fsGroup int64
 7 sysctls []core.v1.Sysctl omit list=atomic
 9 fsGroupChangePolicy string
 10 seccompProfile core.v1.SeccompProfile
 11 appArmorProfile core.v1.AppArmorProfile
 13 seLinuxChangePolicy string
core.v1.PodSpec
 1 volumes []core.v1.Volume omit patch=merge,retainKeys key=name list=map keys=name
 20 initContainers []core.v1.Container omit patch=merge key=name list=map keys=name
 2 containers []core.v1.Container zero patch=merge key=name required list=map keys=name
 34 ephemeralContainers []core.v1.EphemeralContainer omit patch=merge key=name list=map keys=name
 3 restartPolicy string omit
 4 terminationGracePeriodSeconds int64
 5 activeDeadlineSeconds int64
 6 dnsPolicy string omit
 7 nodeSelector {}string omit map=atomic
 8 serviceAccountName string omit
 9 serviceAccount string omit
 21 automountServiceAccountToken bool
 10 nodeName string omit
 11 hostNetwork bool omit
 12 hostPID bool omit
 13 hostIPC bool omit
 27 shareProcessNamespace bool
 14 securityContext core.v1.PodSecurityContext
 15 imagePullSecrets []core.v1.LocalObjectReference omit patch=merge key=name list=map keys=name
 16 hostname string omit
 17 subdomain string omit
 18 affinity core.v1.Affinity
 19 schedulerName string omit
 22 tolerations []core.v1.Toleration omit list=atomic
 23 hostAliases []core.v1.HostAlias omit patch=merge key=ip list=map keys=ip
 24 priorityClassName string omit
 25 priority int32
 26 dnsConfig core.v1.PodDNSConfig
 28 readinessGates []core.v1.PodReadinessGate omit list=atomic
 29 runtimeClassName string
 30 enableServiceLinks bool
 31 preemptionPolicy string
 32 overhead {}quantity omit
 33 topologySpreadConstraints []core.v1.TopologySpreadConstraint omit patch=merge key=topologyKey list=map keys=topologyKey,whenUnsatisfiable
 35 setHostnameAsFQDN bool
 36 os core.v1.PodOS
 37 hostUsers bool
 38 schedulingGates []core.v1.PodSchedulingGate omit patch=merge key=name list=map keys=name
 39 resourceClaims []core.v1.PodResourceClaim omit patch=merge,retainKeys key=name list=map keys=name
 40 resources core.v1.ResourceRequirements
 41 hostnameOverride string
 43 schedulingGroup core.v1.PodSchedulingGroup
core.v1.PodStatus
 17 observedGeneration int64 omit
 1 phase string omit
 2 conditions []core.v1.PodCondition omit patch=merge key=type list=map keys=type
 3 message string omit
 4 reason string omit
 11 nominatedNodeName string omit
 5 hostIP string omit
 16 hostIPs []core.v1.HostIP omit patch=merge key=ip list=atomic
 6 podIP string omit
 12 podIPs []core.v1.PodIP omit patch=merge key=ip list=map keys=ip
 7 startTime time
 10 initContainerStatuses []core.v1.ContainerStatus omit list=atomic
 8 containerStatuses []core.v1.ContainerStatus omit list=atomic
 9 qosClass string omit
 13 ephemeralContainerStatuses []core.v1.ContainerStatus omit list=atomic
 14 resize string omit
 15 resourceClaimStatuses []core.v1.PodResourceClaimStatus omit patch=merge,retainKeys key=name list=map keys=name
 18 extendedResourceClaimStatus core.v1.PodExtendedResourceClaimStatus
 19 allocatedResources {}quantity omit
 20 resources core.v1.ResourceRequirements
 21 nodeAllocatableResourceClaimStatuses []core.v1.NodeAllocatableResourceClaimStatus omit list=atomic
core.v1.PodTemplateSpec
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.PodSpec zero
core.v1.PortStatus
 1 port int32 zero required
 2 protocol string zero required
 3 error string
core.v1.PortworxVolumeSource
 1 volumeID string zero required
 2 fsType string omit
 3 readOnly bool omit
core.v1.PreferredSchedulingTerm
 1 weight int32 zero required
 2 preference core.v1.NodeSelectorTerm zero required
core.v1.Probe
 1 - core.v1.ProbeHandler
 2 initialDelaySeconds int32 omit
 3 timeoutSeconds int32 omit
 4 periodSeconds int32 omit
 5 successThreshold int32 omit
 6 failureThreshold int32 omit
 7 terminationGracePeriodSeconds int64
core.v1.ProbeHandler
 1 exec core.v1.ExecAction
 2 httpGet core.v1.HTTPGetAction
 3 tcpSocket core.v1.TCPSocketAction
 4 grpc core.v1.GRPCAction
core.v1.ProjectedVolumeSource
 1 sources []core.v1.VolumeProjection zero list=atomic
 2 defaultMode int32
core.v1.QuobyteVolumeSource
 1 registry string zero required
 2 volume string zero required
 3 readOnly bool omit
 4 user string omit
 5 group string omit
 6 tenant string omit
core.v1.RBDVolumeSource
 1 monitors []string zero required list=atomic
 2 image string zero required
 3 fsType string omit
 4 pool string omit default=rbd
 5 user string omit default=admin
 6 keyring string omit default=/etc/ceph/keyring
 7 secretRef core.v1.LocalObjectReference
 8 readOnly bool omit
core.v1.ResourceClaim
 1 name string zero required
 2 request string omit
core.v1.ResourceFieldSelector atomic
 1 containerName string omit
 2 resource string zero required
 3 divisor quantity zero
core.v1.ResourceHealth
 1 resourceID string zero required
 2 health string omit
 6 message string
core.v1.ResourceRequirements
 1 limits {}quantity omit
 2 requests {}quantity omit
 3 claims []core.v1.ResourceClaim omit list=map keys=name
core.v1.ResourceStatus
 1 name string zero required
 2 resources []core.v1.ResourceHealth omit list=map keys=resourceID
core.v1.SELinuxOptions
 1 user string omit
 2 role string omit
 3 type string omit
 4 level string omit
core.v1.ScaleIOVolumeSource
 1 gateway string zero required
 2 system string zero required
 3 secretRef core.v1.LocalObjectReference required
 4 sslEnabled bool omit
 5 protectionDomain string omit
 6 storagePool string omit
 7 storageMode string omit default=ThinProvisioned
 8 volumeName string omit
 9 fsType string omit default=xfs
 10 readOnly bool omit
core.v1.SeccompProfile
 1 type string zero required
 2 localhostProfile string
core.v1.Secret
 1 metadata meta.v1.ObjectMeta zero
 5 immutable bool
 2 data {}bytes omit
 4 stringData {}string omit
 3 type string omit
core.v1.SecretEnvSource
 1 - core.v1.LocalObjectReference
 2 optional bool
core.v1.SecretKeySelector atomic
 1 - core.v1.LocalObjectReference
 2 key string zero required
 3 optional bool
core.v1.SecretProjection
 1 - core.v1.LocalObjectReference
 2 items []core.v1.KeyToPath omit list=atomic
 4 optional bool
core.v1.SecretVolumeSource
 1 secretName string omit
 2 items []core.v1.KeyToPath omit list=atomic
 3 defaultMode int32
 4 optional bool
core.v1.SecurityContext
 1 capabilities core.v1.Capabilities
 2 privileged bool
 3 seLinuxOptions core.v1.SELinuxOptions
 10 windowsOptions core.v1.WindowsSecurityContextOptions
 4 runAsUser int64
 8 runAsGroup int64
 5 runAsNonRoot bool
 6 readOnlyRootFilesystem bool
 7 allowPrivilegeEscalation bool
 9 procMount string
 11 seccompProfile core.v1.SeccompProfile
 12 appArmorProfile core.v1.AppArmorProfile
core.v1.Service
 1 metadata meta.v1.ObjectMeta zero
 2 spec core.v1.ServiceSpec zero
 3 status core.v1.ServiceStatus zero
core.v1.ServiceAccount
 1 metadata meta.v1.ObjectMeta zero
 2 secrets []core.v1.ObjectReference omit patch=merge key=name list=map keys=name
 3 imagePullSecrets []core.v1.LocalObjectReference omit list=atomic
 4 automountServiceAccountToken bool
core.v1.ServiceAccountTokenProjection
 1 audience string omit
 2 expirationSeconds int64
 3 path string zero required
core.v1.ServicePort
 1 name string omit
 2 protocol string omit default=TCP
 6 appProtocol string
 3 port int32 zero required
 4 targetPort intorstring zero
 5 nodePort int32 omit
core.v1.ServiceSpec
 1 ports []core.v1.ServicePort omit patch=merge key=port list=map keys=port,protocol
 2 selector {}string omit map=atomic
 3 clusterIP string omit
 18 clusterIPs []string omit list=atomic
 4 type string omit
 5 externalIPs []string omit list=atomic
 7 sessionAffinity string omit
 8 loadBalancerIP string omit
 9 loadBalancerSourceRanges []string omit list=atomic
 10 externalName string omit
 11 externalTrafficPolicy string omit
 12 healthCheckNodePort int32 omit
 13 publishNotReadyAddresses bool omit
 14 sessionAffinityConfig core.v1.SessionAffinityConfig
 19 ipFamilies []string omit list=atomic
 17 ipFamilyPolicy string
 20 allocateLoadBalancerNodePorts bool
 21 loadBalancerClass string
 22 internalTrafficPolicy string
 23 trafficDistribution string
core.v1.ServiceStatus
 1 loadBalancer core.v1.LoadBalancerStatus zero
 2 conditions []meta.v1.Condition omit patch=merge key=type list=map keys=type
core.v1.SessionAffinityConfig
 1 clientIP core.v1.ClientIPConfig
core.v1.SleepAction
 1 seconds int64 zero required
core.v1.StorageOSVolumeSource
 1 volumeName string omit
 2 volumeNamespace string omit
 3 fsType string omit
 4 readOnly bool omit
 5 secretRef core.v1.LocalObjectReference
core.v1.Sysctl
 1 name string zero required
 2 value string zero required
core.v1.TCPSocketAction
 1 port intorstring zero required
 2 host string omit
core.v1.Taint
 1 key string zero required
 2 value string omit
 3 effect string zero required
 4 timeAdded time
core.v1.Toleration
 1 key string omit
 2 operator string omit
 3 value string omit
 4 effect string omit
 5 tolerationSeconds int64
core.v1.TopologySpreadConstraint
 1 maxSkew int32 zero required
 2 topologyKey string zero required
 3 whenUnsatisfiable string zero required
 4 labelSelector meta.v1.LabelSelector
 5 minDomains int32
 6 nodeAffinityPolicy string
 7 nodeTaintsPolicy string
 8 matchLabelKeys []string omit list=atomic
core.v1.TypedLocalObjectReference atomic
 1 apiGroup string
 2 kind string zero required
 3 name string zero required
core.v1.TypedObjectReference
 1 apiGroup string
 2 kind string zero required
 3 name string zero required
 4 namespace string
core.v1.Volume
 1 name string zero required
 2 - core.v1.VolumeSource
core.v1.VolumeDevice
 1 name string zero required
 2 devicePath string zero required
core.v1.VolumeMount
 1 name string zero required
 2 readOnly bool omit
 7 recursiveReadOnly string
 3 mountPath string zero required
 4 subPath string omit
 5 mountPropagation string
 6 subPathExpr string omit
core.v1.VolumeMountStatus
 1 name string zero required
 2 mountPath string zero required
 3 readOnly bool omit
 4 recursiveReadOnly string
 5 volumeStatus core.v1.VolumeStatus
core.v1.VolumeProjection
 1 secret core.v1.SecretProjection
 2 downwardAPI core.v1.DownwardAPIProjection
 3 configMap core.v1.ConfigMapProjection
 4 serviceAccountToken core.v1.ServiceAccountTokenProjection
 5 clusterTrustBundle core.v1.ClusterTrustBundleProjection
 6 podCertificate core.v1.PodCertificateProjection
core.v1.VolumeResourceRequirements
 1 limits {}quantity omit
 2 requests {}quantity omit
core.v1.VolumeSource
 1 hostPath core.v1.HostPathVolumeSource
 2 emptyDir core.v1.EmptyDirVolumeSource
 3 gcePersistentDisk core.v1.GCEPersistentDiskVolumeSource
 4 awsElasticBlockStore core.v1.AWSElasticBlockStoreVolumeSource
 5 gitRepo core.v1.GitRepoVolumeSource
 6 secret core.v1.SecretVolumeSource
 7 nfs core.v1.NFSVolumeSource
 8 iscsi core.v1.ISCSIVolumeSource
 9 glusterfs core.v1.GlusterfsVolumeSource
 10 persistentVolumeClaim core.v1.PersistentVolumeClaimVolumeSource
 11 rbd core.v1.RBDVolumeSource
 12 flexVolume core.v1.FlexVolumeSource
 13 cinder core.v1.CinderVolumeSource
 14 cephfs core.v1.CephFSVolumeSource
 15 flocker core.v1.FlockerVolumeSource
 16 downwardAPI core.v1.DownwardAPIVolumeSource
 17 fc core.v1.FCVolumeSource
 18 azureFile core.v1.AzureFileVolumeSource
 19 configMap core.v1.ConfigMapVolumeSource
 20 vsphereVolume core.v1.VsphereVirtualDiskVolumeSource
 21 quobyte core.v1.QuobyteVolumeSource
 22 azureDisk core.v1.AzureDiskVolumeSource
 23 photonPersistentDisk core.v1.PhotonPersistentDiskVolumeSource
 26 projected core.v1.ProjectedVolumeSource
 24 portworxVolume core.v1.PortworxVolumeSource
 25 scaleIO core.v1.ScaleIOVolumeSource
 27 storageos core.v1.StorageOSVolumeSource
 28 csi core.v1.CSIVolumeSource
 29 ephemeral core.v1.EphemeralVolumeSource
 30 image core.v1.ImageVolumeSource
core.v1.VolumeStatus
 1 image core.v1.ImageVolumeStatus
core.v1.VsphereVirtualDiskVolumeSource
 1 volumePath string zero required
 2 fsType string omit
 3 storagePolicyName string omit
 4 storagePolicyID string omit
core.v1.WeightedPodAffinityTerm
 1 weight int32 zero required
 2 podAffinityTerm core.v1.PodAffinityTerm zero required
core.v1.WindowsSecurityContextOptions
 1 gmsaCredentialSpecName string
 2 gmsaCredentialSpec string
 3 runAsUserName string
 4 hostProcess bool
meta.v1.Condition
 1 type string zero required
 2 status string zero required
 3 observedGeneration int64 omit
 4 lastTransitionTime time zero required
 5 reason string zero required
 6 message string zero required
meta.v1.DeleteOptions
 1 gracePeriodSeconds int64
 2 preconditions meta.v1.Preconditions
 3 orphanDependents bool
 4 propagationPolicy string
 5 dryRun []string omit list=atomic
 6 ignoreStoreReadErrorWithClusterBreakingPotential bool
meta.v1.FieldSelectorRequirement
 1 key string zero required
 2 operator string zero required
 3 values []string omit list=atomic
meta.v1.LabelSelector atomic
 1 matchLabels {}string omit
 2 matchExpressions []meta.v1.LabelSelectorRequirement omit list=atomic
meta.v1.LabelSelectorRequirement
 1 key string zero required
 2 operator string zero required
 3 values []string omit list=atomic
meta.v1.ManagedFieldsEntry
 1 manager string omit
 2 operation string omit
 3 apiVersion string omit
 4 time time
 6 fieldsType string omit
 7 fieldsV1 fields
 8 subresource string omit
meta.v1.ObjectMeta
 1 name string omit
 2 generateName string omit
 3 namespace string omit
 4 selfLink string omit
 5 uid string omit
 6 resourceVersion string omit
 7 generation int64 omit
 8 creationTimestamp time
 9 deletionTimestamp time
 10 deletionGracePeriodSeconds int64
 11 labels {}string omit
 12 annotations {}string omit
 13 ownerReferences []meta.v1.OwnerReference omit patch=merge key=uid list=map keys=uid
 14 finalizers []string omit patch=merge list=set
 17 managedFields []meta.v1.ManagedFieldsEntry omit list=atomic
meta.v1.OwnerReference atomic
 5 apiVersion string zero required
 1 kind string zero required
 3 name string zero required
 4 uid string zero required
 6 controller bool
 7 blockOwnerDeletion bool
meta.v1.Preconditions
 1 uid string
 2 resourceVersion string
networking.v1.IPBlock
 1 cidr string zero required
 2 except []string omit list=atomic
networking.v1.NetworkPolicy
 1 metadata meta.v1.ObjectMeta zero
 2 spec networking.v1.NetworkPolicySpec zero
networking.v1.NetworkPolicyEgressRule
 1 ports []networking.v1.NetworkPolicyPort omit list=atomic
 2 to []networking.v1.NetworkPolicyPeer omit list=atomic
networking.v1.NetworkPolicyIngressRule
 1 ports []networking.v1.NetworkPolicyPort omit list=atomic
 2 from []networking.v1.NetworkPolicyPeer omit list=atomic
networking.v1.NetworkPolicyPeer
 1 podSelector meta.v1.LabelSelector
 2 namespaceSelector meta.v1.LabelSelector
 3 ipBlock networking.v1.IPBlock
networking.v1.NetworkPolicyPort
 1 protocol string
 2 port intorstring
 3 endPort int32
networking.v1.NetworkPolicySpec
 1 podSelector meta.v1.LabelSelector zero
 2 ingress []networking.v1.NetworkPolicyIngressRule omit list=atomic
 3 egress []networking.v1.NetworkPolicyEgressRule omit list=atomic
 4 policyTypes []string omit list=atomic
policy.v1.PodDisruptionBudget
 1 metadata meta.v1.ObjectMeta zero
 2 spec policy.v1.PodDisruptionBudgetSpec zero
 3 status policy.v1.PodDisruptionBudgetStatus zero
policy.v1.PodDisruptionBudgetSpec
 1 minAvailable intorstring
 2 selector meta.v1.LabelSelector patch=replace
 3 maxUnavailable intorstring
 4 unhealthyPodEvictionPolicy string
policy.v1.PodDisruptionBudgetStatus
 1 observedGeneration int64 omit
 2 disruptedPods {}time omit
 3 disruptionsAllowed int32 zero
 4 currentHealthy int32 zero
 5 desiredHealthy int32 zero
 6 expectedPods int32 zero
 7 conditions []meta.v1.Condition omit patch=merge key=type list=map keys=type
rbac.v1.AggregationRule
 1 clusterRoleSelectors []meta.v1.LabelSelector omit list=atomic
rbac.v1.ClusterRole
 1 metadata meta.v1.ObjectMeta zero
 2 rules []rbac.v1.PolicyRule zero list=atomic
 3 aggregationRule rbac.v1.AggregationRule
rbac.v1.ClusterRoleBinding
 1 metadata meta.v1.ObjectMeta zero
 2 subjects []rbac.v1.Subject omit list=atomic
 3 roleRef rbac.v1.RoleRef zero required
rbac.v1.PolicyRule
 1 verbs []string zero required list=atomic
 2 apiGroups []string omit list=atomic
 3 resources []string omit list=atomic
 4 resourceNames []string omit list=atomic
 5 nonResourceURLs []string omit list=atomic
rbac.v1.Role
 1 metadata meta.v1.ObjectMeta zero
 2 rules []rbac.v1.PolicyRule zero list=atomic
rbac.v1.RoleBinding
 1 metadata meta.v1.ObjectMeta zero
 2 subjects []rbac.v1.Subject omit list=atomic
 3 roleRef rbac.v1.RoleRef zero required
rbac.v1.RoleRef atomic
 1 apiGroup string zero
 2 kind string zero required
 3 name string zero required
rbac.v1.Subject atomic
 1 kind string zero required
 2 apiGroup string omit
 3 name string zero required
 4 namespace string omit
`
