package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

func BenchmarkObject(b *testing.B) {
	s := newStand(b, b.TempDir())
	s.server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	for _, size := range []int{1 << 10, 64 << 10, 16 << 20} {
		body := bytes.Repeat([]byte("gas results "), size/12+1)[:size]
		do := func(method string, i int64, body []byte) {
			r, err := http.NewRequest(method, fmt.Sprintf("%s/gas-results/%d/%d", s.server.URL, size, i), bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			res, err := s.server.Client().Do(r)
			if err != nil {
				b.Fatal(err)
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 || method == "GET" && n != int64(size) {
				b.Fatal(n, err, res.Status)
			}
		}
		var n atomic.Int64
		b.Run(fmt.Sprintf("Put%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					do("PUT", n.Add(1)%1000, body)
				}
			})
		})
		b.Run(fmt.Sprintf("Get%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					do("GET", 1, nil)
				}
			})
		})
	}
}
