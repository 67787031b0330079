package sitetest

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
)

// read returns the object's bytes from offset on.
func read(p Ports, t *testing.T, found archive.Found, offset int64) (string, error) {
	body, err := p.Downloads.Read(t.Context(), found, offset)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

func download(t *testing.T, p Ports) {
	o := archive.Object{Bucket: p.Bucket, Key: "gas/ada/a1~é +&?#%2f.vcf"}
	_, err := p.Downloads.Stat(t.Context(), o)
	wantKind(t, "an object that is not there", err, fault.NotFound)
	p.PutObject(o, "the result")
	found, err := p.Downloads.Stat(t.Context(), o)
	sum := crc64nvme.Update(0, []byte("the result")).String()
	if err != nil || found.Object != o || found.Size != int64(len("the result")) || found.ETag == "" || found.Checksum != sum {
		t.Errorf("after it was put it is %+v, %v; want the size, a name of the bytes, and the checksum %s", found, err, sum)
	}
	for offset, want := range map[int64]string{0: "the result", 4: "result"} {
		if got, err := read(p, t, found, offset); err != nil || got != want {
			t.Errorf("from %d on it has %q, %v; want %q", offset, got, err, want)
		}
	}
	p.PutObject(o, "another")
	_, err = read(p, t, found, 0)
	wantKind(t, "another object than the one that was found", err, fault.Conflict)
	p.PutObject(o, "the result")
	for _, name := range []string{"out.vcf", "пример é (1).vcf"} {
		to, err := p.Downloads.PresignGet(t.Context(), o, name, 49*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			t.Fatalf("the link is %q, %v", to, err)
		}
		q := u.Query()
		if kind, params, err := mime.ParseMediaType(q.Get("response-content-disposition")); err != nil || kind != "attachment" || params["filename"] != name {
			t.Errorf("the link saves as %q, %v; want %q", q.Get("response-content-disposition"), err, name)
		}
		if q.Get("X-Amz-Expires") != "2940" || q.Get("X-Amz-Signature") == "" {
			t.Errorf("the link has the parameters %v, want 49 minutes and a signature", q)
		}
		resp, err := p.Get(to, "")
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body[:n]) != "the result" {
			t.Errorf("the link answers %s and %q", resp.Status, body[:n])
		}
		// A browser resumes where it was cut.
		rest, err := p.Get(to, "bytes=4-")
		if err != nil {
			t.Fatal(err)
		}
		n, _ = rest.Body.Read(body)
		rest.Body.Close()
		if rest.StatusCode != http.StatusPartialContent || string(body[:n]) != "result" || rest.Header.Get("Content-Range") != "bytes 4-9/10" {
			t.Errorf("for a range the link answers %s %q and %q", rest.Status, rest.Header.Get("Content-Range"), body[:n])
		}
		if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err != nil || params["filename"] != name {
			t.Errorf("the answer saves as %q, want %q", resp.Header.Get("Content-Disposition"), name)
		}
	}
	none, err := p.Downloads.PresignGet(t.Context(), archive.Object{Bucket: p.Bucket, Key: "none"}, "none", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.Get(none, "")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a link to nothing answers %s, want 404", resp.Status)
	}
}
