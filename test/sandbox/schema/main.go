// Writes src/sandbox/schema/types-table.ts: every field of every kind the sandbox serves, with its
// protobuf number and its merge and list rules. Numbers and patch tags come from the Go types,
// list types, defaults and required fields from the published OpenAPI documents.
//
//	go run . -openapi DIR > ../../../src/sandbox/schema/types-table.ts
//
// DIR is api/openapi-spec/v3 of k8s.io/kubernetes at the version in go.mod.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var roots = []any{
	corev1.Namespace{}, corev1.Node{}, corev1.Pod{}, corev1.ConfigMap{}, corev1.Secret{}, corev1.Service{},
	corev1.ServiceAccount{}, corev1.Event{}, appsv1.Deployment{}, batchv1.Job{}, networkingv1.NetworkPolicy{},
	policyv1.PodDisruptionBudget{}, coordinationv1.Lease{}, rbacv1.Role{}, rbacv1.ClusterRole{},
	rbacv1.RoleBinding{}, rbacv1.ClusterRoleBinding{}, admissionv1.ValidatingAdmissionPolicy{},
	admissionv1.ValidatingAdmissionPolicyBinding{}, authenticationv1.TokenRequest{},
	authenticationv1.TokenReview{}, authenticationv1.SelfSubjectReview{},
	authorizationv1.SubjectAccessReview{}, authorizationv1.SelfSubjectAccessReview{},
	authorizationv1.LocalSubjectAccessReview{}, authorizationv1.SelfSubjectRulesReview{},
	autoscalingv1.Scale{}, metav1.DeleteOptions{},
}

// What has a JSON form of its own.
var scalars = map[string]string{
	"meta.v1.Time": "time", "meta.v1.MicroTime": "microtime", "meta.v1.Duration": "duration", "meta.v1.FieldsV1": "fields",
	"resource.Quantity": "quantity", "intstr.IntOrString": "intorstring", "runtime.RawExtension": "raw",
}

type property struct {
	ListType string   `json:"x-kubernetes-list-type"`
	ListKeys []string `json:"x-kubernetes-list-map-keys"`
	MapType  string   `json:"x-kubernetes-map-type"`
	Default  any      `json:"default"`
}

type schema struct {
	Properties map[string]property `json:"properties"`
	Required   []string            `json:"required"`
	MapType    string              `json:"x-kubernetes-map-type"`
}

var published = map[string]schema{}
var described = map[string][]string{}

func main() {
	directory := flag.String("openapi", "", "api/openapi-spec/v3")
	flag.Parse()
	readPublished(*directory)
	for _, root := range roots {
		describe(reflect.TypeOf(root))
	}
	names := make([]string, 0, len(described))
	for name := range described {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Print(header)
	for _, name := range names {
		fmt.Println(name + flagsOfType(name))
		for _, line := range described[name] {
			fmt.Println(" " + line)
		}
	}
	fmt.Println("`")
}

const header = "/**\n" +
	" * Long because it is a table: every field of every kind served. Generated from Kubernetes 1.36.3 by\n" +
	" * test/sandbox/schema/main.go; types.ts reads it and says what a line means.\n" +
	" */\n" +
	"export const TYPES_TABLE = `\n"

func readPublished(directory string) {
	files, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil || len(files) == 0 {
		panic("no OpenAPI documents in " + directory)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var document struct {
			Components struct{ Schemas map[string]schema }
		}
		if err := json.Unmarshal(text, &document); err != nil {
			panic(err)
		}
		for name, value := range document.Components.Schemas {
			published[name] = value
		}
	}
}

func shortName(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && last == "v1" {
		last = parts[len(parts)-2] + ".v1"
	}
	return last + "." + t.Name()
}

func publishedName(short string) string {
	if strings.HasPrefix(short, "meta.v1.") {
		return "io.k8s.apimachinery.pkg.apis." + short
	}
	return "io.k8s.api." + short
}

func flagsOfType(name string) string {
	if published[publishedName(name)].MapType == "atomic" {
		return " atomic"
	}
	return ""
}

func describe(t reflect.Type) string {
	name := shortName(t)
	if scalar, ok := scalars[name]; ok {
		return scalar
	}
	if _, done := described[name]; done {
		return name
	}
	described[name] = nil
	lines := []string{}
	for i := range t.NumField() {
		if line := describeField(name, t.Field(i)); line != "" {
			lines = append(lines, line)
		}
	}
	described[name] = lines
	return name
}

func describeField(owner string, field reflect.StructField) string {
	if strings.HasSuffix(owner, ".v1.TypeMeta") || field.Type == reflect.TypeOf(metav1.TypeMeta{}) {
		return ""
	}
	jsonName, options, _ := strings.Cut(field.Tag.Get("json"), ",")
	number := "0"
	if tag := strings.Split(field.Tag.Get("protobuf"), ","); len(tag) > 1 {
		number = tag[1]
	}
	if jsonName == "" && (field.Anonymous || strings.Contains(options, "inline")) {
		return fmt.Sprintf("%s - %s", number, typeOf(field.Type))
	}
	line := fmt.Sprintf("%s %s %s", number, jsonName, typeOf(field.Type))
	isPlain := field.Type.Kind() != reflect.Pointer
	if !strings.Contains(options, "omitzero") && isPlain && (field.Type.Kind() == reflect.Struct || !strings.Contains(options, "omitempty")) {
		line += " zero"
	}
	if strings.Contains(options, "omitempty") && field.Type.Kind() != reflect.Pointer && field.Type.Kind() != reflect.Struct {
		line += " omit"
	}
	if strategy := field.Tag.Get("patchStrategy"); strategy != "" {
		line += " patch=" + strategy
	}
	if key := field.Tag.Get("patchMergeKey"); key != "" {
		line += " key=" + key
	}
	return line + publishedFlags(owner, jsonName)
}

func publishedFlags(owner, jsonName string) string {
	line := ""
	whole := published[publishedName(owner)]
	for _, required := range whole.Required {
		if required == jsonName {
			line += " required"
		}
	}
	found := whole.Properties[jsonName]
	if found.ListType != "" {
		line += " list=" + found.ListType
	}
	if len(found.ListKeys) > 0 {
		line += " keys=" + strings.Join(found.ListKeys, ",")
	}
	if found.MapType != "" {
		line += " map=" + found.MapType
	}
	if text, ok := found.Default.(string); ok && text != "" {
		line += " default=" + text
	}
	return line
}

func typeOf(t reflect.Type) string {
	if t.Name() == "ExtraValue" {
		return "strings"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeOf(t.Elem())
	case reflect.Struct:
		return describe(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + typeOf(t.Elem())
	case reflect.Map:
		return "{}" + typeOf(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int32:
		return "int32"
	case reflect.Int64, reflect.Int:
		return "int64"
	case reflect.Float64:
		return "float64"
	}
	panic("no name for " + t.String())
}
