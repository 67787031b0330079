package s3

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

const maxKey = 1024

// handler serves an operation. An error is for it to return only if it has not
// begun to answer.
type handler func(s *Service, r *request) *world.Error

// route names the operations by method and subresource: GET ?location.
type route struct {
	name  string
	serve handler
}

var serviceRoutes = map[string]route{"GET": {"ListBuckets", (*Service).listBuckets}}

var bucketRoutes = map[string]route{
	"HEAD":             {"HeadBucket", (*Service).headBucket},
	"PUT":              {"CreateBucket", (*Service).createBucket},
	"DELETE":           {"DeleteBucket", (*Service).deleteBucket},
	"GET":              {"ListObjects", (*Service).listObjects},
	"GET list-type":    {"ListObjectsV2", (*Service).listObjectsV2},
	"GET location":     {"GetBucketLocation", (*Service).bucketLocation},
	"GET versioning":   {"GetBucketVersioning", (*Service).bucketVersioning},
	"PUT versioning":   {"PutBucketVersioning", (*Service).putVersioning},
	"GET versions":     {"ListObjectVersions", (*Service).listVersions},
	"GET uploads":      {"ListMultipartUploads", (*Service).listUploads},
	"GET lifecycle":    {"GetBucketLifecycleConfiguration", (*Service).getLifecycle},
	"PUT lifecycle":    {"PutBucketLifecycleConfiguration", (*Service).putLifecycle},
	"DELETE lifecycle": {"DeleteBucketLifecycle", (*Service).deleteLifecycle},
	"GET notification": {"GetBucketNotificationConfiguration", (*Service).getNotification},
	"PUT notification": {"PutBucketNotificationConfiguration", (*Service).putNotification},
	"POST delete":      {"DeleteObjects", (*Service).deleteObjects},
}

var objectRoutes = map[string]route{
	"GET":             {"GetObject", (*Service).getObject},
	"HEAD":            {"HeadObject", (*Service).headObject},
	"PUT":             {"PutObject", (*Service).putObject},
	"DELETE":          {"DeleteObject", (*Service).deleteObject},
	"POST restore":    {"RestoreObject", (*Service).restoreObject},
	"POST uploads":    {"CreateMultipartUpload", (*Service).createUpload},
	"PUT uploadId":    {"UploadPart", (*Service).uploadPart},
	"GET uploadId":    {"ListParts", (*Service).listParts},
	"POST uploadId":   {"CompleteMultipartUpload", (*Service).completeUpload},
	"DELETE uploadId": {"AbortMultipartUpload", (*Service).abortUpload},
}

// copies are what the operations are when a source is named.
var copies = map[string]route{
	"PutObject":  {"CopyObject", (*Service).copyObject},
	"UploadPart": {"UploadPartCopy", (*Service).uploadPartCopy},
}

// subresources are the parameters that make an operation another one.
var subresources = []string{
	"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering",
	"inventory", "legal-hold", "lifecycle", "list-type", "location", "logging", "metadataTable", "metrics", "notification",
	"object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication",
	"requestPayment", "restore", "retention", "select", "tagging", "torrent", "uploadId", "uploads",
	"versioning", "versions", "website",
}

// parameters are those that an operation may have beside its subresource.
var parameters = []string{
	"x-id", "prefix", "delimiter", "marker", "max-keys", "encoding-type", "continuation-token", "start-after", "fetch-owner",
	"key-marker", "version-id-marker", "upload-id-marker", "max-uploads", "part-number-marker", "max-parts", "partNumber", "versionId",
	"response-content-type", "response-content-language", "response-expires", "response-cache-control",
	"response-content-disposition", "response-content-encoding", "max-buckets", "bucket-region", "AWSAccessKeyId",
}

// Operation implements [world.Service].
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	req := &request{Request: r}
	if err := req.address(); err != nil {
		return world.Operation{}, err
	}
	routes := objectRoutes
	switch {
	case req.bucket == "":
		routes = serviceRoutes
	case req.key == "":
		routes = bucketRoutes
	}
	id := r.Method
	for _, name := range subresources {
		if req.has(name) {
			id += " " + name
		}
	}
	op, ok := routes[id]
	if !ok {
		if len(id) > len(r.Method) || routes[r.Method].name != "" {
			return world.Operation{Name: id}, missing("the operation " + id)
		}
		return world.Operation{Name: id}, world.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	if c, ok := copies[op.name]; ok && r.Header.Get("X-Amz-Copy-Source") != "" {
		op = c
	}
	return world.Operation{Name: op.name, Serve: func(w http.ResponseWriter, r *http.Request) {
		req := &request{Request: r, w: w, bucket: req.bucket, key: req.key, query: req.query}
		err := s.admit(req, op.name)
		if err == nil {
			err = op.serve(s, req)
		}
		if err != nil {
			s.WriteError(w, r, err)
		}
	}}, nil
}

// address finds bucket, key and parameters.
func (r *request) address() *world.Error {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if b := hostBucket(r.Host); b != "" {
		r.bucket, r.key = b, path
	} else {
		r.bucket, r.key, _ = strings.Cut(path, "/")
	}
	if !utf8.ValidString(r.key) || !utf8.ValidString(r.bucket) || strings.ContainsRune(r.key, 0) {
		return world.Errorf(400, "InvalidURI", "Couldn't parse the specified URI: the key is not UTF-8.")
	}
	if len(r.key) > maxKey {
		e := world.Errorf(400, "KeyTooLongError", "Your key is too long")
		e.Fields = map[string]any{"Size": len(r.key), "MaxSizeAllowed": maxKey}
		return e
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return world.Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	r.query = map[string]string{}
	for name, v := range values {
		if len(v) > 1 {
			return badArgument("the parameter %s is there twice", clip(name))
		}
		r.query[name] = v[0]
		if strings.HasPrefix(strings.ToLower(name), "x-amz-") || slices.Contains(subresources, name) || slices.Contains(parameters, name) {
			continue
		}
		return missing("the parameter " + clip(name))
	}
	return nil
}

// hostBucket returns the bucket that a host names: bucket.s3.… or
// bucket.localhost. It is empty if the path has it.
func hostBucket(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, sep := range []string{".s3.", ".s3-"} {
		if b, _, ok := strings.Cut(host, sep); ok {
			return b
		}
	}
	b, ok := strings.CutSuffix(host, ".localhost")
	if !ok || b == "s3" || strings.HasPrefix(b, "s3.") {
		return ""
	}
	return strings.TrimSuffix(b, ".s3")
}

// refusedHeaders are those of features which the stand-in doesn't have. To
// ignore one of them would be to promise what is not kept.
var refusedHeaders = []string{
	"X-Amz-Tagging", "X-Amz-Website-Redirect-Location", "X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date",
	"X-Amz-Object-Lock-Legal-Hold", "X-Amz-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
	"X-Amz-Grant-Full-Control", "X-Amz-Grant-Read", "X-Amz-Grant-Read-Acp", "X-Amz-Grant-Write-Acp", "X-Amz-Grant-Write",
	"X-Amz-Write-Offset-Bytes", "X-Amz-Bucket-Object-Lock-Enabled", "X-Amz-Mfa",
}

// versionOperations are those on one version.
var versionOperations = []string{"GetObject", "HeadObject", "DeleteObject", "RestoreObject"}

// admit refuses what no operation takes, and calls on buckets that aren't there.
func (s *Service) admit(r *request, op string) *world.Error {
	for _, name := range refusedHeaders {
		if r.Header.Get(name) != "" {
			return missing("the header " + strings.ToLower(name))
		}
	}
	if v := r.Header.Get("X-Amz-Server-Side-Encryption"); v != "" && v != "AES256" {
		return missing("server-side encryption " + clip(v))
	}
	switch v := r.Header.Get("X-Amz-Acl"); v {
	case "", "private", "bucket-owner-full-control":
	default:
		return world.Errorf(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	if id, ok := r.query["versionId"]; ok {
		switch {
		case !slices.Contains(versionOperations, op):
			return badArgument("This operation does not accept a version-id.")
		case !isVersion(id):
			return badVersion()
		}
		r.version = id
	}
	if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != s.world.Account {
		return world.Errorf(403, "AccessDenied", "Access Denied")
	}
	if r.bucket == "" || op == "CreateBucket" {
		return nil
	}
	if _, ok := s.buckets.Get(r.bucket); !ok {
		return noBucket(r.bucket)
	}
	return nil
}
