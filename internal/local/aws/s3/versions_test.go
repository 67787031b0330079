package s3_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"pgregory.net/rapid"

	"github.com/gas-restore/gas/internal/local/aws/s3"
)

// versioning sets the versioning of the bucket.
func (s *stand) versioning(status types.BucketVersioningStatus) {
	s.t.Helper()
	must[*sdk.PutBucketVersioningOutput](s.t)(s.PutBucketVersioning(ctx, &sdk.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: status}}))
}

// versions lists all versions of the bucket, three a page: each is its key and its id, with
// "marker" for a delete marker and "latest" for the current one.
func (s *stand) versions(prefix string) []string {
	s.t.Helper()
	var out []string
	tell := func(key, id *string, latest *bool, kind string) {
		text := *key + " " + *id + kind
		if *latest {
			text += " latest"
		}
		out = append(out, text)
	}
	for p := sdk.NewListObjectVersionsPaginator(s.Client, &sdk.ListObjectVersionsInput{Bucket: b, Prefix: &prefix, MaxKeys: aws.Int32(3)}); p.HasMorePages(); {
		page := must[*sdk.ListObjectVersionsOutput](s.t)(p.NextPage(ctx))
		for _, v := range page.Versions {
			tell(v.Key, v.VersionId, v.IsLatest, "")
		}
		for _, v := range page.DeleteMarkers {
			tell(v.Key, v.VersionId, v.IsLatest, " marker")
		}
	}
	return out
}

func TestVersioningIsEnabledAndSuspended(t *testing.T) {
	s := newStand(t, t.TempDir())
	status := func() types.BucketVersioningStatus {
		return must[*sdk.GetBucketVersioningOutput](t)(s.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: b})).Status
	}
	if got := status(); got != "" {
		t.Errorf("a new bucket: %q", got)
	}
	s.versioning("Enabled")
	s.close()
	s = newStand(t, s.dir)
	if got := status(); got != "Enabled" {
		t.Errorf("got %q", got)
	}
	s.versioning("Suspended")
	if got := status(); got != "Suspended" {
		t.Errorf("got %q", got)
	}
	for body, want := range map[string]string{
		"":                           "MalformedXML",
		"<VersioningConfiguration/>": "IllegalVersioningConfigurationException",
		"<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>":                                   "MalformedXML",
		"<VersioningConfiguration><Status>Enabled</Status><Since>2</Since></VersioningConfiguration>":               "MalformedXML",
		"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>": "NotImplemented",
	} {
		if _, answer, _ := s.raw("PUT", "/gas-results?versioning", nil, body); !strings.Contains(answer, "<Code>"+want+"</Code>") {
			t.Errorf("%s: got %s, want %s", body, answer, want)
		}
	}
}

func TestEachWriteOfAVersionedBucketNamesItsVersion(t *testing.T) {
	s := newStand(t, t.TempDir())
	k := aws.String("k")
	old := s.put("k", []byte("old"))
	if old.VersionId != nil {
		t.Errorf("without versioning: version %s", *old.VersionId)
	}
	s.versioning("Enabled")
	put := s.put("k", []byte("put"))
	copied := must[*sdk.CopyObjectOutput](t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: k, CopySource: aws.String("gas-results/k?versionId=null")}))
	if aws.ToString(copied.CopySourceVersionId) != "null" {
		t.Errorf("the copy is of version %q, want null", aws.ToString(copied.CopySourceVersionId))
	}
	u := must[*sdk.CreateMultipartUploadOutput](t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: k}))
	p := must[*sdk.UploadPartCopyOutput](t)(s.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{Bucket: b, Key: k, UploadId: u.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("gas-results/k?versionId=" + *put.VersionId)}))
	if *p.CopySourceVersionId != *put.VersionId {
		t.Errorf("the part is of version %q, want %q", *p.CopySourceVersionId, *put.VersionId)
	}
	completed := must[*sdk.CompleteMultipartUploadOutput](t)(s.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{
		Bucket: b, Key: k, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.CopyPartResult.ETag}}},
	}))
	deleted := must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: k}))
	if !aws.ToBool(deleted.DeleteMarker) {
		t.Errorf("a deletion says %+v", deleted)
	}
	want := []string{
		"k " + *deleted.VersionId + " marker latest", "k " + *completed.VersionId, "k " + *copied.VersionId, "k " + *put.VersionId, "k null",
	}
	for range 2 {
		got := s.versions("")
		slices.SortStableFunc(got, func(a, b string) int { // a page has its markers last
			return slices.Index(want, a) - slices.Index(want, b)
		})
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		for id, body := range map[string]string{"null": "old", *put.VersionId: "put", *copied.VersionId: "old", *completed.VersionId: "put"} {
			status, got, h := s.raw("GET", "/gas-results/k?versionId="+id, nil, "")
			if status != 200 || got != body || h.Get("X-Amz-Version-Id") != id {
				t.Errorf("version %s: got %d %q, version %q; want %q", id, status, got, h.Get("X-Amz-Version-Id"), body)
			}
		}
		s.close()
		s = newStand(t, s.dir)
	}
}

func TestADeleteMarkerHidesItsObject(t *testing.T) {
	s := newStand(t, "")
	s.versioning("Enabled")
	v := *s.put("k", []byte("x")).VersionId
	marker := *must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")})).VersionId
	for _, c := range []struct {
		name, method, path string
		header             map[string]string
		status             int
		code               string
		marker, version    string
	}{
		{"get", "GET", "/gas-results/k", nil, 404, "NoSuchKey", "true", marker},
		{"head", "HEAD", "/gas-results/k", nil, 404, "", "true", marker},
		{"get the marker", "GET", "/gas-results/k?versionId=" + marker, nil, 405, "MethodNotAllowed", "true", marker},
		{"head the marker", "HEAD", "/gas-results/k?versionId=" + marker, nil, 405, "", "true", marker},
		{"get the version", "GET", "/gas-results/k?versionId=" + v, nil, 200, "", "", v},
		{"head the version", "HEAD", "/gas-results/k?versionId=" + v, nil, 200, "", "", v},
		{"get no version", "GET", "/gas-results/k?versionId=" + strings.Repeat("0", 32), nil, 404, "NoSuchVersion", "", ""},
		{"get null", "GET", "/gas-results/k?versionId=null", nil, 404, "NoSuchVersion", "", ""},
		{"get what is no id", "GET", "/gas-results/k?versionId=x", nil, 400, "InvalidArgument", "", ""},
		{"get an empty id", "GET", "/gas-results/k?versionId=", nil, 400, "InvalidArgument", "", ""},
		{"put a version", "PUT", "/gas-results/k?versionId=" + v, nil, 400, "InvalidArgument", "", ""},
		{"copy it", "PUT", "/gas-results/c", map[string]string{"X-Amz-Copy-Source": "/gas-results/k"}, 404, "NoSuchKey", "", ""},
		{"copy the marker", "PUT", "/gas-results/c", map[string]string{"X-Amz-Copy-Source": "/gas-results/k?versionId=" + marker}, 400, "InvalidRequest", "", ""},
		{"copy no version", "PUT", "/gas-results/c", map[string]string{"X-Amz-Copy-Source": "/gas-results/k?versionId=" + strings.Repeat("0", 32)}, 404, "NoSuchVersion", "", ""},
		{"put if it is there", "PUT", "/gas-results/k", map[string]string{"If-Match": "*"}, 404, "NoSuchKey", "", ""},
		{"delete if it is there", "DELETE", "/gas-results/k", map[string]string{"If-Match": "*"}, 412, "PreconditionFailed", "", ""},
		{"delete the bucket", "DELETE", "/gas-results", nil, 409, "BucketNotEmpty", "", ""},
		{"delete the marker", "DELETE", "/gas-results/k?versionId=" + marker, nil, 204, "", "true", marker},
		{"get it again", "GET", "/gas-results/k", nil, 200, "", "", v},
		{"delete the version", "DELETE", "/gas-results/k?versionId=" + v, nil, 204, "", "", v},
		{"delete it twice", "DELETE", "/gas-results/k?versionId=" + v, nil, 204, "", "", v},
		{"get nothing", "GET", "/gas-results/k", nil, 404, "NoSuchKey", "", ""},
		{"put if nothing is there", "PUT", "/gas-results/k", map[string]string{"If-None-Match": "*"}, 200, "", "", "any"},
	} {
		status, body, h := s.raw(c.method, c.path, c.header, "")
		if status != c.status || c.code != "" && !strings.Contains(body, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: got %d %s, want %d %s", c.name, status, body, c.status, c.code)
		}
		got := h.Get("X-Amz-Version-Id")
		if h.Get("X-Amz-Delete-Marker") != c.marker || got != c.version && (c.version != "any" || got == "") {
			t.Errorf("%s: marker %q, version %q; want %q, %q", c.name, h.Get("X-Amz-Delete-Marker"), got, c.marker, c.version)
		}
	}
}

func TestAConditionOfADeletionJudgesTheCurrentVersion(t *testing.T) {
	s := newStand(t, "")
	s.versioning("Enabled")
	first, second := s.put("k", []byte("1")), s.put("k", []byte("2"))
	del := func(id, etag *string) error {
		_, err := s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k"), VersionId: id, IfMatch: etag})
		return err
	}
	refused(t, del(nil, first.ETag), "PreconditionFailed", "")
	refused(t, del(first.VersionId, first.ETag), "PreconditionFailed", "")
	if err := del(first.VersionId, second.ETag); err != nil {
		t.Error(err)
	}
	if err := del(nil, second.ETag); err != nil {
		t.Error(err)
	}
	if got := s.versions(""); len(got) != 2 || !slices.Contains(got, "k "+*second.VersionId) {
		t.Errorf("got %q", got)
	}
}

func TestManyVersionsAreDeletedAtOnce(t *testing.T) {
	s := newStand(t, t.TempDir())
	s.versioning("Enabled")
	first, second, other := s.put("k", []byte("1")), s.put("k", []byte("2")), s.put("other", nil)
	out := must[*sdk.DeleteObjectsOutput](t)(s.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("k"), VersionId: second.VersionId},
		{Key: aws.String("other")},
		{Key: aws.String("k"), VersionId: aws.String("x")},
		{Key: aws.String("k"), VersionId: first.VersionId, ETag: aws.String("x")},
	}}}))
	if len(out.Deleted) != 2 || *out.Deleted[0].VersionId != *second.VersionId || out.Deleted[0].DeleteMarker != nil {
		t.Fatalf("got %+v", out.Deleted)
	}
	marker := out.Deleted[1]
	if !aws.ToBool(marker.DeleteMarker) || aws.ToString(marker.DeleteMarkerVersionId) == "" || marker.VersionId != nil {
		t.Errorf("got %+v, want a delete marker", marker)
	}
	if len(out.Errors) != 2 || *out.Errors[0].Code != "NoSuchVersion" || *out.Errors[1].Code != "PreconditionFailed" {
		t.Errorf("got %+v", out.Errors)
	}
	if got := string(s.get("k")); got != "1" {
		t.Errorf("the current version is %q, want the one before", got)
	}
	out = must[*sdk.DeleteObjectsOutput](t)(s.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("other"), VersionId: marker.DeleteMarkerVersionId}, {Key: aws.String("other"), VersionId: other.VersionId}, {Key: aws.String("k"), VersionId: first.VersionId},
	}}}))
	if len(out.Errors) != 0 || !aws.ToBool(out.Deleted[0].DeleteMarker) || len(s.versions("")) != 0 || s.blobs() != 0 {
		t.Errorf("got %+v, %q, %d files", out, s.versions(""), s.blobs())
	}
	must[*sdk.DeleteBucketOutput](t)(s.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: b}))
}

// TestVersionsAreWhatAModelSays writes, deletes and lists by chance, with restarts.
func TestVersionsAreWhatAModelSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStand(t, t.TempDir())
		defer func() { s.close() }()
		type version struct {
			id, body string
			marker   bool
		}
		model := map[string][]version{} // by key, the newest first
		state := types.BucketVersioningStatus("")
		add := func(key string, v version) {
			if v.id == "null" {
				model[key] = slices.DeleteFunc(model[key], func(old version) bool { return old.id == "null" })
			}
			model[key] = append([]version{v}, model[key]...)
		}
		keys := rapid.SampledFrom([]string{"a", "a/b", "ab", "a!", "b"})
		bodies := 0
		look := func(rt *rapid.T) {
			var want, got, current, wantCurrent []string
			looked := keys.Draw(rt, "looked")
			for key, versions := range model {
				for i, v := range versions {
					text := key + " " + v.id
					if v.marker {
						text += " marker"
					}
					if i == 0 {
						text += " latest"
						if !v.marker {
							wantCurrent = append(wantCurrent, key)
						}
					}
					want = append(want, text)
					if key != looked {
						continue
					}
					status, body, _ := s.raw("GET", "/gas-results/"+url.PathEscape(key)+"?versionId="+v.id, nil, "")
					if v.marker != (status == 405) || !v.marker && body != v.body {
						rt.Fatalf("%s %+v: got %d %q", key, v, status, body)
					}
				}
			}
			got = s.versions("")
			for _, o := range must[*sdk.ListObjectsV2Output](t)(s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b})).Contents {
				current = append(current, *o.Key)
			}
			for _, l := range [][]string{want, got, current, wantCurrent} {
				slices.Sort(l)
			}
			if !slices.Equal(got, want) || !slices.Equal(current, wantCurrent) {
				rt.Fatalf("got  %q, current %q\nwant %q, current %q", got, current, want, wantCurrent)
			}
			files := 0
			for _, versions := range model {
				for _, v := range versions {
					if !v.marker {
						files++
					}
				}
			}
			if n := s.blobs(); n != files {
				rt.Fatalf("%d files, want %d", n, files)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"look": look,
			"versioning": func(rt *rapid.T) {
				state = rapid.SampledFrom([]types.BucketVersioningStatus{"Enabled", "Suspended"}).Draw(rt, "state")
				s.versioning(state)
			},
			"put": func(rt *rapid.T) {
				key := keys.Draw(rt, "key")
				bodies++
				body := fmt.Sprint("body ", bodies)
				id := aws.ToString(s.put(key, []byte(body)).VersionId)
				if id == "" != (state == "") || id == "null" != (state == "Suspended") {
					rt.Fatalf("%s: version %q", state, id)
				}
				if id == "" {
					id = "null"
				}
				add(key, version{id, body, false})
			},
			"delete": func(rt *rapid.T) {
				key := keys.Draw(rt, "key")
				out, err := s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: &key})
				if err != nil {
					rt.Fatal(err)
				}
				if state == "" {
					delete(model, key)
					return
				}
				add(key, version{aws.ToString(out.VersionId), "", true})
			},
			"delete a version": func(rt *rapid.T) {
				key := keys.Draw(rt, "key")
				if len(model[key]) == 0 {
					return // this key has no version to delete
				}
				i := rapid.IntRange(0, len(model[key])-1).Draw(rt, "version")
				v := model[key][i]
				out, err := s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: &key, VersionId: &v.id})
				if err != nil || aws.ToBool(out.DeleteMarker) != v.marker {
					rt.Fatalf("%+v: %+v, %v", v, out, err)
				}
				model[key] = slices.Delete(slices.Clone(model[key]), i, i+1)
			},
			"restart": func(rt *rapid.T) {
				s.close()
				s = newStand(t, s.dir)
			},
		})
		look(rt)
	})
}

func TestVersionsAreListedByPrefixAndDelimiter(t *testing.T) {
	s := newStand(t, "")
	s.versioning("Enabled")
	for _, key := range []string{"a/1", "a/2", "b", "b", "c/d/1"} {
		s.put(key, nil)
	}
	out := must[*sdk.ListObjectVersionsOutput](t)(s.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: b, Delimiter: aws.String("/")}))
	if len(out.Versions) != 2 || *out.Versions[0].Key != "b" || len(out.CommonPrefixes) != 2 || *out.CommonPrefixes[1].Prefix != "c/" {
		t.Errorf("got %+v, %+v", out.Versions, out.CommonPrefixes)
	}
	if got := s.versions("a/"); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	// A client that deletes each page goes on after a version that is gone.
	var seen int
	in := &sdk.ListObjectVersionsInput{Bucket: b, MaxKeys: aws.Int32(1)}
	for {
		page := must[*sdk.ListObjectVersionsOutput](t)(s.ListObjectVersions(ctx, in))
		for _, v := range page.Versions {
			seen++
			must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: v.Key, VersionId: v.VersionId}))
		}
		if in.KeyMarker, in.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker; !*page.IsTruncated {
			break
		}
	}
	if got := s.versions(""); seen != 5 || len(got) != 0 {
		t.Errorf("saw %d versions, %q are left", seen, got)
	}
	for _, query := range []string{"version-id-marker=null", "key-marker=a&version-id-marker=x"} {
		if status, body, _ := s.raw("GET", "/gas-results?versions&"+query, nil, ""); status != 400 {
			t.Errorf("%s: got %d %s", query, status, body)
		}
	}
}

func TestARestoreIsOfOneVersion(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, "", d.config)
	s.versioning("Enabled")
	d.configure(s, toQueue("s3:ObjectRestore:*", "s3:ObjectRemoved:*"))
	first := *s.putIn("GLACIER", "k", "first").VersionId
	second := *s.putIn("DEEP_ARCHIVE", "k", "second").VersionId
	restore := func(id string) (int, string) {
		t.Helper()
		status, body, _ := s.raw("POST", "/gas-results/k?restore&versionId="+id, nil, restoreBody(9, s3.Standard))
		return status, body
	}
	if status, body := restore(first); status != 202 {
		t.Fatalf("got %d %s", status, body)
	}
	shown := func(id string) string {
		t.Helper()
		_, _, h := s.raw("HEAD", "/gas-results/k?versionId="+id, nil, "")
		return h.Get("X-Amz-Restore")
	}
	if shown(first) != ongoing || shown(second) != "" || s.shown("k") != "" {
		t.Errorf("the first shows %q, the second %q", shown(first), shown(second))
	}
	s.beginRestore("k", 9, s3.Standard)
	s.world.Clock.Advance(5 * time.Hour)
	if status, body, _ := s.raw("GET", "/gas-results/k?versionId="+first, nil, ""); status != 200 || body != "first" {
		t.Errorf("got %d %q", status, body)
	}
	want := map[s3.Version]int{{Bucket: "gas-results", Key: "k", Version: first}: 1, {Bucket: "gas-results", Key: "k", Version: second}: 1}
	if got := s.service.Restores(); !maps.Equal(got, want) {
		t.Errorf("billed %v, want %v", got, want)
	}
	out := must[*sdk.ListObjectVersionsOutput](t)(s.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: b, OptionalObjectAttributes: []types.OptionalObjectAttributes{"RestoreStatus"}}))
	if len(out.Versions) != 2 || out.Versions[1].RestoreStatus == nil || out.Versions[1].RestoreStatus.RestoreExpiryDate == nil || out.Versions[0].StorageClass != "DEEP_ARCHIVE" {
		t.Errorf("listed %+v", out.Versions)
	}
	marker := *must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")})).VersionId
	if status, body := s.restore("k", 1, s3.Bulk); status != 404 || !strings.Contains(body, "NoSuchKey") {
		t.Errorf("a deleted object: got %d %s", status, body)
	}
	if status, body := restore(marker); status != 405 || !strings.Contains(body, "MethodNotAllowed") {
		t.Errorf("a marker: got %d %s", status, body)
	}
	if status, body := restore(strings.Repeat("0", 32)); status != 404 || !strings.Contains(body, "NoSuchVersion") {
		t.Errorf("no version: got %d %s", status, body)
	}
	must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k"), VersionId: &first}))
	if got := s.service.Restoring(); len(got) != 1 || got[0].Version != second {
		t.Errorf("restores: %+v", got)
	}
	for _, want := range []string{
		"ObjectRestore:Post " + first, "ObjectRestore:Post " + second, "ObjectRestore:Completed " + first,
		"ObjectRemoved:DeleteMarkerCreated " + marker, "ObjectRemoved:Delete " + first,
	} {
		r := d.next(t)
		if r.EventName == "ObjectRestore:Completed" && r.S3.Object.VersionId == second {
			r = d.next(t) // that restore may have taken as little as five hours
		}
		if got := r.EventName + " " + r.S3.Object.VersionId; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
