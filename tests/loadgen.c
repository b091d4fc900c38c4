/* loadgen: an iSCSI initiator that does as little as it can, so that the target is what a measurement measures.
 *
 * usage: loadgen --url iscsi://HOST:PORT/IQN/LUN --rw randread|randwrite|read|write --bs 4k --qd 32 --conns 1
 *                --time SECONDS --ramp SECONDS          prints one JSON object
 *
 * One thread, one session a connection, no digests, batched sends. It checks the status and the length of every
 * command, not the data. compare-targets.py builds it: gcc -O2 -march=native -o loadgen loadgen.c
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <poll.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
static char host[64], iqn[256];
static int port = 3260, lun;
static uint32_t bs = 4096, qd = 1, nconn = 1, rtime = 5, ramp = 1;
static int is_write, is_rand;
static uint32_t blksz;
static uint64_t nblk;
static uint64_t errors;
static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void be32(uint8_t *p, uint32_t v) {
  p[0] = v >> 24;
  p[1] = v >> 16;
  p[2] = v >> 8;
  p[3] = v;
}
static void be64(uint8_t *p, uint64_t v) {
  be32(p, v >> 32);
  be32(p + 4, v);
}
static uint32_t rd32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static uint64_t rd64(const uint8_t *p) { return (uint64_t)rd32(p) << 32 | rd32(p + 4); }
static void die(const char *m) {
  fprintf(stderr, "loadgen: %s (%s)\n", m, strerror(errno));
  exit(2);
}
#define RB (1u << 20)
#define MAXQ 256
struct conn {
  int fd;
  uint32_t cmdsn, expstat, maxcmd;
  uint64_t t0[MAXQ], seq;
  uint32_t gotb[MAXQ];
  uint8_t busy[MAXQ];
  uint32_t nfree;
  uint16_t fr[MAXQ];
  uint8_t *rb;
  uint32_t rl, rp;
  uint64_t skip;
  uint8_t *sb;
  uint64_t sl, sp, scap;
  uint64_t rng;
  uint32_t mrdsl, first, burst;
  int imm, ir2t;
  uint8_t *wdata;
  int fin_pending;
  uint8_t fin_op, fin_status;
  uint32_t fin_itt;
};
static uint32_t hist[64 * 64];
static uint64_t done, lat_sum;
static int measuring;
static int hb(uint64_t ns) {
  if (ns < 64)
    return ns;
  int e = 63 - __builtin_clzll(ns);
  return ((e - 5) << 6) | ((ns >> (e - 6)) & 63);
}
static uint64_t hv(int i) {
  if (i < 64)
    return i;
  int e = (i >> 6) + 5;
  return (1ull << e) | ((uint64_t)(i & 63) << (e - 6));
}
static void rdall(int fd, void *b, size_t n) {
  uint8_t *p = b;
  while (n) {
    ssize_t r = recv(fd, p, n, 0);
    if (r <= 0)
      die("recv");
    p += r;
    n -= r;
  }
}
static void wrall(int fd, const void *b, size_t n) {
  const uint8_t *p = b;
  while (n) {
    ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
    if (r <= 0)
      die("send");
    p += r;
    n -= r;
  }
}
static int kvget(const char *d, int n, const char *k, char *out, int on) {
  int kl = strlen(k);
  for (int i = 0; i < n;) {
    int l = strnlen(d + i, n - i);
    if (!strncmp(d + i, k, kl) && d[i + kl] == '=') {
      snprintf(out, on, "%s", d + i + kl + 1);
      return 1;
    }
    i += l + 1;
  }
  return 0;
}
static void login(struct conn *c, int idx) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &a.sin_addr);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (void *)&a, sizeof a))
    die("connect");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->mrdsl = 8192;
  c->first = 65536;
  c->burst = 262144;
  c->imm = 1;
  c->ir2t = 1;
  c->cmdsn = 1;
  uint16_t tsih = 0;
  uint8_t isid[6] = {0x80, 0x12, getpid() >> 8, getpid(), 0, (uint8_t)(idx + 1)};
  for (int stage = 0, round = 0; round < 8; round++) {
    char t[4096];
    int n = 0;
#define KV(...) n += sprintf(t + n, __VA_ARGS__) + 1
    int csg = stage, nsg = stage == 0 ? 1 : 3;
    if (stage == 0) {
      KV("InitiatorName=iqn.2026-01.test:loadgen%d", idx);
      KV("TargetName=%s", iqn);
      KV("SessionType=Normal");
      KV("AuthMethod=None");
    } else if (round < 6 && stage == 1) {
      KV("HeaderDigest=None");
      KV("DataDigest=None");
      KV("MaxConnections=1");
      KV("InitialR2T=No");
      KV("ImmediateData=Yes");
      KV("MaxRecvDataSegmentLength=262144");
      KV("MaxBurstLength=262144");
      KV("FirstBurstLength=262144");
      KV("DefaultTime2Wait=2");
      KV("DefaultTime2Retain=0");
      KV("MaxOutstandingR2T=1");
      KV("DataPDUInOrder=Yes");
      KV("DataSequenceInOrder=Yes");
      KV("ErrorRecoveryLevel=0");
    }
    uint8_t h[48] = {0};
    h[0] = 0x43;
    h[1] = 0x80 | csg << 2 | nsg;
    h[5] = n >> 16;
    h[6] = n >> 8;
    h[7] = n;
    memcpy(h + 8, isid, 6);
    h[14] = tsih >> 8;
    h[15] = tsih;
    be32(h + 16, 1);
    be32(h + 24, c->cmdsn);
    be32(h + 28, c->expstat);
    wrall(c->fd, h, 48);
    while (n & 3)
      t[n++] = 0;
    wrall(c->fd, t, n);
    uint8_t r[48];
    rdall(c->fd, r, 48);
    uint32_t dl = rd32(r + 4) & 0xffffff;
    char d[16384];
    if (dl > sizeof d - 4)
      die("login too long");
    rdall(c->fd, d, (dl + 3) & ~3u);
    if (r[0] != 0x23 || r[36]) {
      fprintf(stderr, "login status %02x%02x op %02x\n", r[36], r[37], r[0]);
      exit(2);
    }
    c->expstat = rd32(r + 24) + 1;
    c->maxcmd = rd32(r + 32);
    tsih = r[14] << 8 | r[15];
    char v[64];
    if (kvget(d, dl, "MaxRecvDataSegmentLength", v, 64))
      c->mrdsl = atoi(v);
    if (kvget(d, dl, "FirstBurstLength", v, 64))
      c->first = atoi(v);
    if (kvget(d, dl, "MaxBurstLength", v, 64))
      c->burst = atoi(v);
    if (kvget(d, dl, "ImmediateData", v, 64))
      c->imm = v[0] == 'Y';
    if (kvget(d, dl, "InitialR2T", v, 64))
      c->ir2t = v[0] == 'Y';
    if (r[1] & 0x80) {
      stage = r[1] & 3;
      if (stage == 3) {
        return;
      }
    }
  }
  die("login did not finish");
}
static void lunf(uint8_t *p) {
  p[0] = lun > 255 ? 0x40 | lun >> 8 : 0;
  p[1] = lun;
}
static int sync_cmd(struct conn *c, const uint8_t *cdb, int cl, uint8_t *buf,
                    uint32_t len) { /* read or no data; returns status */
  uint8_t h[48] = {0};
  h[0] = 1;
  h[1] = 0x80 | (len ? 0x40 : 0) | 1;
  lunf(h + 8);
  be32(h + 16, 0x7000);
  be32(h + 20, len);
  be32(h + 24, c->cmdsn++);
  be32(h + 28, c->expstat);
  memcpy(h + 32, cdb, cl);
  wrall(c->fd, h, 48);
  for (;;) {
    uint8_t r[48];
    rdall(c->fd, r, 48);
    uint32_t dl = rd32(r + 4) & 0xffffff;
    uint8_t *t = malloc(dl + 4);
    rdall(c->fd, t, (dl + 3) & ~3u);
    int op = r[0] & 0x3f;
    if (op == 0x25) {
      uint32_t o = rd32(r + 40);
      if (o + dl <= len)
        memcpy(buf + o, t, dl);
    }
    free(t);
    if ((op == 0x25 && (r[1] & 1)) || op == 0x21) {
      c->expstat = rd32(r + 24) + 1;
      c->maxcmd = rd32(r + 32);
      return r[3];
    }
  }
}
static void need(struct conn *c, uint64_t n) {
  if (c->sp == c->sl)
    c->sp = c->sl = 0;
  if (c->sl + n > c->scap) {
    c->scap = (c->sl + n) * 2;
    c->sb = realloc(c->sb, c->scap);
    if (!c->sb)
      die("oom");
  }
}
static uint64_t xr(uint64_t *s) {
  uint64_t x = *s;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *s = x;
}
static void dataout(struct conn *c, uint32_t itt, uint32_t ttt, uint32_t off, uint32_t len, int burst_final) {
  uint32_t sn = 0;
  while (len) {
    uint32_t k = len < c->mrdsl ? len : c->mrdsl;
    need(c, 48 + k);
    uint8_t *h = c->sb + c->sl;
    memset(h, 0, 48);
    h[0] = 5;
    h[1] = (k == len && burst_final) ? 0x80 : 0;
    be32(h + 4, k);
    lunf(h + 8);
    be32(h + 16, itt);
    be32(h + 20, ttt);
    be32(h + 28, c->expstat);
    be32(h + 36, sn++);
    be32(h + 40, off);
    memcpy(h + 48, c->wdata + off, k);
    c->sl += 48 + k;
    off += k;
    len -= k;
  }
}
static void submit(struct conn *c) {
  while (c->nfree && (int32_t)(c->maxcmd - c->cmdsn) >= 0) {
    uint16_t s = c->fr[--c->nfree];
    uint32_t nb = bs / blksz;
    uint64_t slots = nblk / nb, i = is_rand ? xr(&c->rng) % slots : c->seq++ % slots;
    uint64_t lba = i * nb;
    uint32_t im = is_write && c->imm ? (bs < c->mrdsl ? bs : c->mrdsl) : 0;
    if (im > c->first)
      im = c->first;
    need(c, 48 + im);
    uint8_t *h = c->sb + c->sl;
    memset(h, 0, 48);
    h[0] = 1;
    uint32_t uns = 0;
    if (is_write && !c->ir2t) {
      uns = c->first < bs ? c->first : bs;
      uns = uns > im ? uns - im : 0;
    }
    h[1] = (uns ? 0 : 0x80) | (is_write ? 0x20 : 0x40) | 1;
    be32(h + 4, im);
    lunf(h + 8);
    be32(h + 16, s);
    be32(h + 20, bs);
    be32(h + 24, c->cmdsn++);
    be32(h + 28, c->expstat);
    h[32] = is_write ? 0x8a : 0x88;
    be64(h + 34, lba);
    be32(h + 42, nb);
    if (im)
      memcpy(h + 48, c->wdata, im);
    c->sl += 48 + im;
    if (uns)
      dataout(c, s, 0xffffffff, im, uns, 1);
    c->t0[s] = now_ns();
    c->busy[s] = 1;
    c->gotb[s] = 0;
  }
}
static void flush(struct conn *c) {
  while (c->sp < c->sl) {
    ssize_t r = send(c->fd, c->sb + c->sp, c->sl - c->sp, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r < 0) {
      if (errno == EAGAIN)
        return;
      die("send");
    }
    c->sp += r;
  }
}
static void complete(struct conn *c, uint32_t itt, int status, uint64_t t) {
  if (itt >= qd || !c->busy[itt]) {
    errors++;
    return;
  }
  if (status || (!is_write && c->gotb[itt] != bs))
    errors++; /* status, or a read that brought fewer/more bytes than asked */
  if (measuring) {
    uint64_t d = t - c->t0[itt];
    done++;
    lat_sum += d;
    hist[hb(d)]++;
  }
  c->busy[itt] = 0;
  c->fr[c->nfree++] = itt;
}
static int service(struct conn *c) {
  int got = 0;
  for (;;) {
    if (c->rp == c->rl)
      c->rp = c->rl = 0;
    else if (c->rp > RB / 2) {
      memmove(c->rb, c->rb + c->rp, c->rl - c->rp);
      c->rl -= c->rp;
      c->rp = 0;
    }
    ssize_t r = recv(c->fd, c->rb + c->rl, RB - c->rl, MSG_DONTWAIT);
    if (r < 0) {
      if (errno == EAGAIN)
        return got;
      die("recv");
    }
    if (!r)
      die("target closed");
    got = 1;
    int full = (uint32_t)r == RB - c->rl;
    c->rl += r;
    uint64_t t = now_ns();
    for (;;) {
      uint32_t av = c->rl - c->rp;
      if (c->skip) {
        uint64_t k = c->skip < av ? c->skip : av;
        c->rp += k;
        c->skip -= k;
        if (c->skip)
          break;
        if (c->fin_pending) {
          c->fin_pending = 0;
          complete(c, c->fin_itt, c->fin_status, t);
        }
        av = c->rl - c->rp;
      }
      if (av < 48)
        break;
      uint8_t *h = c->rb + c->rp;
      int op = h[0] & 0x3f;
      uint32_t dl = (rd32(h + 4) & 0xffffff), itt = rd32(h + 16);
      c->rp += 48;
      c->skip = h[4] * 4u + ((dl + 3) & ~3u);
      if (op != 0x31 && (op != 0x25 || (h[1] & 1))) {
        uint32_t ss = rd32(h + 24);
        if (op != 0x20 || rd32(h + 16) != 0xffffffff)
          c->expstat = ss + 1;
      }
      {
        uint32_t mc = rd32(h + 32);
        if ((int32_t)(mc - c->maxcmd) > 0)
          c->maxcmd = mc;
      }
      int fin = 0, st = 0;
      if (op == 0x25 && itt < qd)
        c->gotb[itt] += dl;
      if (op == 0x21) {
        fin = 1;
        st = h[3] | (h[2] ? 0x100 : 0);
      } else if (op == 0x25 && (h[1] & 1)) {
        fin = 1;
        st = h[3];
      } else if (op == 0x31) {
        dataout(c, itt, rd32(h + 20), rd32(h + 40), rd32(h + 44), 1);
      } else if (op == 0x20) {
        if (rd32(h + 20) != 0xffffffff) {
          need(c, 48);
          uint8_t *o = c->sb + c->sl;
          memset(o, 0, 48);
          o[0] = 0x40;
          o[1] = 0x80;
          memcpy(o + 8, h + 8, 8);
          be32(o + 16, 0xffffffff);
          memcpy(o + 20, h + 20, 4);
          be32(o + 24, c->cmdsn);
          be32(o + 28, c->expstat);
          c->sl += 48;
        }
      } else if (op != 0x25) {
        fprintf(stderr, "unexpected opcode %02x\n", op);
        exit(2);
      }
      if (fin) {
        if (c->skip) {
          c->fin_pending = 1;
          c->fin_itt = itt;
          c->fin_status = st ? 1 : 0;
        } else
          complete(c, itt, st, t);
      }
    }
    if (!full)
      return got;
  }
}
static uint32_t sz(const char *s) {
  char *e;
  uint32_t v = strtoul(s, &e, 10);
  if (*e == 'k' || *e == 'K')
    v <<= 10;
  else if (*e == 'm' || *e == 'M')
    v <<= 20;
  return v;
}
int main(int ac, char **av) {
  for (int i = 1; i + 1 < ac; i += 2) {
    char *k = av[i], *v = av[i + 1];
    if (!strcmp(k, "--url")) {
      if (sscanf(v, "iscsi://%63[^:/]:%d/%255[^/]/%d", host, &port, iqn, &lun) != 4)
        die("url");
    } else if (!strcmp(k, "--rw")) {
      is_write = !!strstr(v, "write");
      is_rand = !!strstr(v, "rand");
    } else if (!strcmp(k, "--bs"))
      bs = sz(v);
    else if (!strcmp(k, "--qd"))
      qd = atoi(v);
    else if (!strcmp(k, "--conns"))
      nconn = atoi(v);
    else if (!strcmp(k, "--time"))
      rtime = atoi(v);
    else if (!strcmp(k, "--ramp"))
      ramp = atoi(v);
    else
      die(k);
  }
  if (!iqn[0] || qd < 1 || qd > MAXQ || nconn < 1 || nconn > 64)
    die("usage");
  struct conn *cs = calloc(nconn, sizeof *cs);
  struct pollfd *pf = calloc(nconn, sizeof *pf);
  for (uint32_t i = 0; i < nconn; i++) {
    struct conn *c = cs + i;
    login(c, i);
    uint8_t tur[16] = {0}, rc[16] = {0x9e, 0x10}, b[32];
    rc[13] = 32;
    int t = 0;
    while (sync_cmd(c, tur, 16, 0, 0) && t++ < 10)
      ;
    if (sync_cmd(c, rc, 16, b, 32))
      die("readcap");
    nblk = rd64(b) + 1;
    blksz = rd32(b + 8);
    if (bs % blksz)
      die("bs");
    c->rb = malloc(RB);
    c->wdata = malloc(bs);
    memset(c->wdata, 0x5a + i, bs);
    c->rng = 0x9E3779B97F4A7C15ull * (i + 1);
    c->seq = (nblk / (bs / blksz)) * i / nconn;
    for (uint32_t q = 0; q < qd; q++)
      c->fr[c->nfree++] = q;
    pf[i].fd = c->fd;
  }
  uint64_t st = now_ns(), ms = st + ramp * 1000000000ull, en = ms + rtime * 1000000000ull, t = st;
  for (uint32_t i = 0; i < nconn; i++) {
    submit(cs + i);
    flush(cs + i);
  }
  uint64_t real0 = 0;
  while (t < en) {
    for (uint32_t i = 0; i < nconn; i++)
      pf[i].events = POLLIN | (cs[i].sp < cs[i].sl ? POLLOUT : 0);
    if (poll(pf, nconn, 1000) < 0 && errno != EINTR)
      die("poll");
    for (uint32_t i = 0; i < nconn; i++)
      if (pf[i].revents) {
        service(cs + i);
        submit(cs + i);
        flush(cs + i);
      }
    t = now_ns();
    if (!measuring && t >= ms) {
      measuring = 1;
      real0 = t;
    }
  }
  double sec = (t - real0) / 1e9;
  uint64_t n = 0, p50 = 0, p99 = 0;
  for (int i = 0; i < 4096; i++) {
    n += hist[i];
    if (!p50 && n * 2 >= done)
      p50 = hv(i);
    if (!p99 && n * 100 >= done * 99)
      p99 = hv(i);
  }
  printf("{\"iops\":%.1f,\"mib_s\":%.1f,\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":%llu,\"mrdsl\":%u,"
         "\"first\":%u,\"ir2t\":%d,\"imm\":%d}\n",
         done / sec, done / sec * bs / 1048576, done ? lat_sum / 1e3 / done : 0, p50 / 1e3, p99 / 1e3,
         (unsigned long long)errors, cs->mrdsl, cs->first, cs->ir2t, cs->imm);
  return 0;
}
