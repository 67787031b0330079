package glacier_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
)

// raw makes a request that the SDK would not make.
func (s *stand) raw(method, path string, body []byte, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("X-Amz-Glacier-Version", "2012-06-01")
	for k, v := range header {
		if k == "Content-Length" {
			fmt.Sscan(v, &r.ContentLength)
		} else if v == "" {
			r.Header.Del(k)
		} else {
			r.Header.Set(k, v)
		}
	}
	rec := httptest.NewRecorder()
	if op, e := s.service.Operation(r); e != nil {
		s.service.WriteError(rec, r, e)
	} else {
		op.Serve(rec, r)
	}
	return rec
}

func wantRaw(t *testing.T, rec *httptest.ResponseRecorder, status int, code, about string) {
	t.Helper()
	body := decodeJSON(t, rec.Body.String())
	if rec.Code != status || body["code"] != code || !strings.Contains(fmt.Sprint(body["message"]), about) {
		t.Errorf("got %d %s, want %d %s with %q", rec.Code, rec.Body, status, code, about)
	}
	want := "Client"
	if status >= 500 {
		want = "Server"
	}
	if body["type"] != want {
		t.Errorf("got type %v, want %s", body["type"], want)
	}
}

func TestUploadsThatAreNotWhatTheyClaimAreRefused(t *testing.T) {
	s := start(t, glacier.Config{})
	body := data(100)
	good := map[string]string{
		"X-Amz-Sha256-Tree-Hash": treehash.Of(body).String(),
		"X-Amz-Content-Sha256":   treehash.Of(body).String(), // the same up to 1 MiB
	}
	wrong := strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		header map[string]string
		body   []byte
		status int
		code   string
		about  string
	}{
		{"another tree hash", map[string]string{"X-Amz-Sha256-Tree-Hash": wrong}, body, 400, "InvalidParameterValueException", "Checksum mismatch"},
		{"another SHA-256", map[string]string{"X-Amz-Content-Sha256": wrong}, body, 400, "InvalidParameterValueException", "x-amz-content-sha256"},
		{"no tree hash", map[string]string{"X-Amz-Sha256-Tree-Hash": ""}, body, 400, "MissingParameterValueException", "Checksum"},
		{"no SHA-256", map[string]string{"X-Amz-Content-Sha256": ""}, body, 400, "MissingParameterValueException", "x-amz-content-sha256"},
		{"malformed tree hash", map[string]string{"X-Amz-Sha256-Tree-Hash": "abc"}, body, 400, "InvalidParameterValueException", "abc"},
		{"flipped byte", nil, append([]byte{^body[0]}, body[1:]...), 400, "InvalidParameterValueException", "Checksum mismatch"},
		{"short body", map[string]string{"Content-Length": "101"}, body, 408, "RequestTimeoutException", "100 of 101"},
		{"long body", map[string]string{"Content-Length": "99"}, body, 400, "InvalidParameterValueException", "more than"},
		{"no length", map[string]string{"Content-Length": "-1"}, body, 400, "MissingParameterValueException", "Content-Length"},
		{"empty", map[string]string{"Content-Length": "0"}, nil, 400, "InvalidParameterValueException", "Content-Length: 0"},
		{"too large", map[string]string{"Content-Length": "4294967297"}, nil, 400, "InvalidParameterValueException", "4294967297"},
		{"description with a line break", map[string]string{"X-Amz-Archive-Description": "a\nb"}, body, 400, "InvalidParameterValueException", "0x0A"},
		{"long description", map[string]string{"X-Amz-Archive-Description": strings.Repeat("x", 1025)}, body, 400, "InvalidParameterValueException", "1024"},
		{"no version", map[string]string{"X-Amz-Glacier-Version": ""}, body, 400, "MissingParameterValueException", "version"},
		{"another version", map[string]string{"X-Amz-Glacier-Version": "2011-01-01"}, body, 400, "InvalidParameterValueException", "2011-01-01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := map[string]string{}
			for k, v := range good {
				header[k] = v
			}
			for k, v := range c.header {
				header[k] = v
			}
			wantRaw(t, s.raw("POST", "/-/vaults/v/archives", c.body, header), c.status, c.code, c.about)
		})
	}
	if n := len(s.service.Archives("v")); n != 0 {
		t.Errorf("%d archives were stored, want 0", n)
	}
	if rec := s.raw("POST", "/-/vaults/v/archives", body, good); rec.Code != 201 {
		t.Errorf("the good one: got %d %s, want 201", rec.Code, rec.Body)
	}
}

func TestRequestsThatAreNotForTheAccountOrTheServiceAreRefused(t *testing.T) {
	s := start(t, glacier.Config{})
	wantRaw(t, s.raw("GET", "/999999999999/vaults/v", nil, nil), 403, "AccessDeniedException", "999999999999")
	wantRaw(t, s.raw("GET", "/-/vaults/v/select", nil, nil), 400, "BadRequest", "/-/vaults/v/select")
	wantRaw(t, s.raw("PATCH", "/-/vaults/v", nil, nil), 400, "BadRequest", "PATCH")
	wantRaw(t, s.raw("GET", "/-/vaults/nope", nil, nil), 404, "ResourceNotFoundException", "arn:aws:glacier:us-east-1:"+account+":vaults/nope")
	wantRaw(t, s.raw("GET", "/-/vaults/a%20b", nil, nil), 400, "InvalidParameterValueException", "vault name")
	if rec := s.raw("GET", "/"+account+"/vaults/v", nil, nil); rec.Code != 200 {
		t.Errorf("the account's own number: got %d, want 200", rec.Code)
	}
}

func TestAnEmptyArchiveIsAcceptedWhereThatIsAllowed(t *testing.T) {
	s := start(t, glacier.Config{AllowEmptyArchives: true})
	id := s.upload(nil)
	job := s.mustInitiate(retrieval(id, glacier.Bulk))
	s.finish()
	got, out, err := s.output(job, "")
	if err != nil || len(got) != 0 || *out.Checksum != treehash.Of(nil).String() {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestZerosComeBackAsZeros(t *testing.T) {
	s := start(t, glacier.Config{})
	body := make([]byte, 5*mib+100)
	copy(body[2*mib+70000:], data(100))
	job := s.mustInitiate(retrieval(s.upload(body), glacier.Bulk))
	s.finish()
	if got, _, err := s.output(job, ""); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got other bytes, error %v", err)
	}
}

func (s *stand) part(upload string, from int, body []byte) error {
	_, err := s.UploadMultipartPart(ctx, &awsglacier.UploadMultipartPartInput{
		VaultName: aws.String("v"), UploadId: &upload, Body: bytes.NewReader(body),
		Range: aws.String(fmt.Sprintf("bytes %d-%d/*", from, from+len(body)-1)),
	})
	return err
}

func (s *stand) newUpload(partSize int) string {
	s.t.Helper()
	out, err := s.InitiateMultipartUpload(ctx, &awsglacier.InitiateMultipartUploadInput{
		VaultName: aws.String("v"), PartSize: aws.String(fmt.Sprint(partSize)), ArchiveDescription: aws.String("in parts"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.UploadId
}

func (s *stand) completeUpload(upload string, size int, hash string) (string, error) {
	out, err := s.CompleteMultipartUpload(ctx, &awsglacier.CompleteMultipartUploadInput{
		VaultName: aws.String("v"), UploadId: &upload, ArchiveSize: aws.String(fmt.Sprint(size)), Checksum: &hash,
	})
	if err != nil {
		return "", err
	}
	return *out.ArchiveId, nil
}

func TestAnArchiveUploadedInPartsIsOneArchive(t *testing.T) {
	s := start(t, glacier.Config{})
	body := data(7*mib + 123)
	upload := s.newUpload(2 * mib)
	for _, from := range []int{6 * mib, 0, 4 * mib, 2 * mib, 0} { // out of order, and one twice
		if err := s.part(upload, from, body[from:min(from+2*mib, len(body))]); err != nil {
			t.Fatal(err)
		}
	}
	parts, err := s.ListParts(ctx, &awsglacier.ListPartsInput{VaultName: aws.String("v"), UploadId: &upload, Limit: aws.Int32(3)})
	if err != nil || len(parts.Parts) != 3 || parts.Marker == nil || *parts.Parts[1].RangeInBytes != "2097152-4194303" {
		t.Fatalf("list parts: got %+v, %v", parts, err)
	}
	rest, err := s.ListParts(ctx, &awsglacier.ListPartsInput{VaultName: aws.String("v"), UploadId: &upload, Marker: parts.Marker})
	if err != nil || len(rest.Parts) != 1 || rest.Marker != nil || *rest.Parts[0].SHA256TreeHash != treehash.Of(body[6*mib:]).String() {
		t.Fatalf("list the rest: got %+v, %v", rest, err)
	}
	hash := treehash.Of(body).String()
	_, err = s.completeUpload(upload, len(body)-1, hash)
	wantCode(t, err, "InvalidParameterValueException", 400)
	_, err = s.completeUpload(upload, len(body), strings.Repeat("0", 64))
	wantCode(t, err, "InvalidParameterValueException", 400)
	id, err := s.completeUpload(upload, len(body), hash)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.completeUpload(upload, len(body), hash); err != nil || again != id {
		t.Errorf("completed again: got %s, %v, want the same archive", again, err)
	}
	uploads, err := s.ListMultipartUploads(ctx, &awsglacier.ListMultipartUploadsInput{VaultName: aws.String("v")})
	if err != nil || len(uploads.UploadsList) != 0 {
		t.Errorf("a completed upload is listed: %+v, %v", uploads, err)
	}
	job := s.mustInitiate(retrieval(id, glacier.Bulk))
	s.finish()
	got, out, err := s.output(job, "")
	if err != nil || !bytes.Equal(got, body) || *out.Checksum != hash {
		t.Errorf("the output differs: %d bytes, %v", len(got), err)
	}
	// A range over pieces, with its tree hash.
	got, out, err = s.output(job, fmt.Sprintf("bytes=%d-%d", 4*mib, len(body)-1))
	if err != nil || !bytes.Equal(got, body[4*mib:]) || aws.ToString(out.Checksum) != treehash.Of(body[4*mib:]).String() {
		t.Errorf("the range differs: %d bytes, %v", len(got), err)
	}
}

func TestPartsThatDoNotFitAreRefused(t *testing.T) {
	s := start(t, glacier.Config{})
	for _, size := range []string{"0", "1048575", "3145728", "8589934592", "x"} {
		_, err := s.InitiateMultipartUpload(ctx, &awsglacier.InitiateMultipartUploadInput{VaultName: aws.String("v"), PartSize: &size})
		wantCode(t, err, "InvalidParameterValueException", 400)
	}
	upload := s.newUpload(mib)
	wantCode(t, s.part(upload, 512, data(100)), "InvalidParameterValueException", 400)
	wantCode(t, s.part(upload, 0, data(mib+1)), "InvalidParameterValueException", 400)
	wantCode(t, s.part(upload, 10_000*mib, data(1)), "InvalidParameterValueException", 400)
	wantCode(t, s.part("nope", 0, data(1)), "ResourceNotFoundException", 404)
	// A small part that is not the last is taken, but not completed with.
	for _, from := range []int{0, mib} {
		if err := s.part(upload, from, data(10)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.completeUpload(upload, 20, treehash.Of(nil).String())
	wantCode(t, err, "InvalidParameterValueException", 400)
	hole := s.newUpload(mib)
	if err := s.part(hole, mib, data(10)); err != nil {
		t.Fatal(err)
	}
	_, err = s.completeUpload(hole, 10, treehash.Of(data(10)).String())
	wantCode(t, err, "InvalidParameterValueException", 400)

	for range 2 { // idempotent
		if _, err := s.AbortMultipartUpload(ctx, &awsglacier.AbortMultipartUploadInput{VaultName: aws.String("v"), UploadId: &hole}); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, s.part(hole, 0, data(1)), "ResourceNotFoundException", 404)
}

func TestDeletedArchivesAreGoneAndDeletingAgainIsNoError(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(10))
	for range 2 {
		if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.service.Archives("v")); n != 0 {
		t.Errorf("%d archives are left, want 0", n)
	}
	_, err := s.initiate(retrieval(id, glacier.Standard))
	wantCode(t, err, "ResourceNotFoundException", 404)
	_, err = s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: aws.String("short")})
	wantCode(t, err, "InvalidParameterValueException", 400)
}

func TestAVaultIsDeletedOnlyWhenItIsEmpty(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(10))
	_, err := s.DeleteVault(ctx, &awsglacier.DeleteVaultInput{VaultName: aws.String("v")})
	wantCode(t, err, "InvalidParameterValueException", 400)
	if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteVault(ctx, &awsglacier.DeleteVaultInput{VaultName: aws.String("v")}); err != nil {
		t.Error(err)
	}
	_, err = s.DescribeVault(ctx, &awsglacier.DescribeVaultInput{VaultName: aws.String("v")})
	wantCode(t, err, "ResourceNotFoundException", 404)
}

func TestVaultsAreListedByPages(t *testing.T) {
	s := start(t, glacier.Config{})
	want := []string{"v"}
	for i := range 24 {
		name := fmt.Sprintf("vault-%02d", i)
		s.vault(name)
		want = append(want, name)
	}
	slices.Sort(want)
	var got []string
	pages := 0
	for p := awsglacier.NewListVaultsPaginator(s, &awsglacier.ListVaultsInput{}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out.VaultList {
			got = append(got, *v.VaultName)
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("got %v in %d pages, want %v in 3", got, pages, want)
	}
}

func TestAVaultIsDescribedWithWhatIsInIt(t *testing.T) {
	s := start(t, glacier.Config{})
	s.upload(data(10))
	s.upload(data(32))
	out, err := s.DescribeVault(ctx, &awsglacier.DescribeVaultInput{VaultName: aws.String("v")})
	if err != nil || out.NumberOfArchives != 2 || out.SizeInBytes != 42 || *out.VaultARN != "arn:aws:glacier:us-east-1:"+account+":vaults/v" {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := s.AddTagsToVault(ctx, &awsglacier.AddTagsToVaultInput{VaultName: aws.String("v"), Tags: map[string]string{"a": "1", "b": "2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemoveTagsFromVault(ctx, &awsglacier.RemoveTagsFromVaultInput{VaultName: aws.String("v"), TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	tags, err := s.ListTagsForVault(ctx, &awsglacier.ListTagsForVaultInput{VaultName: aws.String("v")})
	if err != nil || len(tags.Tags) != 1 || tags.Tags["b"] != "2" {
		t.Errorf("got tags %v, %v", tags, err)
	}
}

func TestALockedVaultKeepsItsArchives(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(10))
	lock := func(policy string) (*awsglacier.InitiateVaultLockOutput, error) {
		return s.InitiateVaultLock(ctx, &awsglacier.InitiateVaultLockInput{VaultName: aws.String("v"), Policy: lockPolicy(policy)})
	}
	remove := func() error {
		_, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id})
		return err
	}
	for _, bad := range []string{`{}`, `x`, `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"glacier:UploadArchive"}]}`,
		`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"glacier:DeleteArchive","Condition":{"Bool":{"a":"b"}}}]}`} {
		_, err := lock(bad)
		wantCode(t, err, "InvalidParameterValueException", 400)
	}
	const young = `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"glacier:DeleteArchive","Condition":{"NumericLessThan":{"glacier:ArchiveAgeInDays":"10"}}}]}`
	first, err := lock(young)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, remove(), "AccessDeniedException", 403) // in progress it is in force already
	_, err = lock(young)
	wantCode(t, err, "InvalidParameterValueException", 400)
	if _, err := s.AbortVaultLock(ctx, &awsglacier.AbortVaultLockInput{VaultName: aws.String("v")}); err != nil {
		t.Fatal(err)
	}
	_, err = s.CompleteVaultLock(ctx, &awsglacier.CompleteVaultLockInput{VaultName: aws.String("v"), LockId: first.LockId})
	wantCode(t, err, "ResourceNotFoundException", 404)
	second, err := lock(young)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CompleteVaultLock(ctx, &awsglacier.CompleteVaultLockInput{VaultName: aws.String("v"), LockId: second.LockId}); err != nil {
		t.Fatal(err)
	}
	_, err = s.AbortVaultLock(ctx, &awsglacier.AbortVaultLockInput{VaultName: aws.String("v")})
	wantCode(t, err, "AccessDeniedException", 403)
	if out, err := s.GetVaultLock(ctx, &awsglacier.GetVaultLockInput{VaultName: aws.String("v")}); err != nil || *out.State != "Locked" || *out.Policy != young {
		t.Errorf("got %+v, %v", out, err)
	}
	wantCode(t, remove(), "AccessDeniedException", 403)
	s.world.Clock.Advance(11 * 24 * 3600e9)
	if err := remove(); err != nil {
		t.Errorf("after ten days: %v", err)
	}
}

func TestDeletionIsDeniedWhileATestSaysSo(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(10))
	s.service.DenyDelete("v", true)
	_, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id})
	wantCode(t, err, "AccessDeniedException", http.StatusForbidden)
	s.service.DenyDelete("v", false)
	if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
		t.Error(err)
	}
}

func TestASparseArchiveIsWhatItsHashSays(t *testing.T) {
	for _, size := range []int{1, mib, 3*mib + 5, 9*mib + 3} {
		s := start(t, glacier.Config{})
		id, hash, err := s.service.AddSparse("v", int64(size))
		if err != nil {
			t.Fatal(err)
		}
		job := s.mustInitiate(retrieval(id, glacier.Bulk))
		s.finish()
		body, out, err := s.output(job, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(body) != size || treehash.Of(body).String() != hash || aws.ToString(out.Checksum) != hash {
			t.Errorf("%d bytes with tree hash %s, said %s; want %d with %s", len(body), treehash.Of(body), aws.ToString(out.Checksum), size, hash)
		}
	}
}
