package sitetest

import (
	"mime"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

func download(t *testing.T, p Ports) {
	o := archive.Object{Bucket: p.Bucket, Key: "gas/ada/a1~é +&?#%2f.vcf"}
	if _, there, err := p.Downloads.Size(t.Context(), o); err != nil || there {
		t.Errorf("before it was put: there %v, %v", there, err)
	}
	p.PutObject(o, "the result")
	if size, there, err := p.Downloads.Size(t.Context(), o); err != nil || !there || size != int64(len("the result")) {
		t.Errorf("after it was put: %d bytes, there %v, %v", size, there, err)
	}
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
		resp, err := p.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body[:n]) != "the result" {
			t.Errorf("the link answers %s and %q", resp.Status, body[:n])
		}
		if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err != nil || params["filename"] != name {
			t.Errorf("the answer saves as %q, want %q", resp.Header.Get("Content-Disposition"), name)
		}
	}
	none, err := p.Downloads.PresignGet(t.Context(), archive.Object{Bucket: p.Bucket, Key: "none"}, "none", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.Get(none)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a link to nothing answers %s, want 404", resp.Status)
	}
}
