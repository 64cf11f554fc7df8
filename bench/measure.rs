//! The clock and the client of `npm run bench`: each word measures one thing and prints one number,
//! or does one piece of preparation. Takes HOME and `XDG_RUNTIME_DIR` from its environment; talks
//! to whatever daemon or floor the caller has started.
#![allow(clippy::print_stdout, reason = "what was measured is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use keyrack_client::daemon::{self, Daemon};
use keyrack_client::get::{self, GetOptions, Scope};
use keyrack_client::session::KeyToUnlock;
use keyrack_client::{Context, Environment, Session};
use keyrack_core::{Grade, GrantSource, Mechanism, Org, Slug, Ttl, VaultId};
use keyrack_mask::{Masker, Patterns};
use keyrack_wire::WipedBuffer;
use keyrack_wire::native::{self, Decoded, Get, Hello, Op, Request};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: measure fill COUNT BYTES            unlock COUNT keys bench.test.KEY_000000… of BYTES bytes each
       measure legacy SOCKET SLUG N        ns: GET over a fresh connection, legacy, median of N
       measure legacy-reply SOCKET SLUG    the bytes of that reply
       measure native SLUG N               ns: GET over one session, native, median of N
       measure native-bytes SLUG           how many bytes its request and its reply have
       measure pingpong SOCKET IN OUT N    ns: IN bytes there and OUT bytes back, median of N
       measure get SLUG N                  ns: what getSync does, median of N
       measure spawn N PROGRAM [ARG…]      ns: a whole process, median of N
       measure start KEYRACKD N            ns: no daemon → asked for → served, median of N
       measure mask TEXT KEYS                       MB/s: a stream through the masker; TEXT is log, json, color, base64, secrets,
                                                    escaped, or repeated (KEYS KiB of one key that repeats itself)
       measure copy TEXT                            MB/s: the same stream copied in the same chunks
       measure text TEXT KEYS                       64 MiB of that stream; on stderr the keys, NUL between them
       measure load-fresh SOCKET SLUG CLIENTS MS    requests a second, legacy, fresh connections
       measure load-native SLUG CLIENTS MS          requests a second, native, one session a client";

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", count, bytes] => fill(count.parse()?, bytes.parse()?),
        ["legacy", socket, slug, n] => median(n, || legacy_get(socket, slug).map(drop)),
        ["legacy-reply", socket, slug] => Ok(std::io::stdout().write_all(&legacy_get(socket, slug)?)?),
        ["native", slug, n] => {
            let (mut session, slugs) = (session()?, [Slug::parse(slug)?]);
            median(n, || hit(session.get(&slugs)?.len()))
        }
        ["native-bytes", slug] => native_bytes(slug),
        ["pingpong", socket, there, back, n] => {
            let mut stream = UnixStream::connect(socket)?;
            let (there, mut back) = (vec![1; there.parse()?], vec![0; back.parse()?]);
            median(n, || {
                stream.write_all(&there)?;
                Ok(stream.read_exact(&mut back)?)
            })
        }
        ["get", slug, n] => {
            let ctx = context()?;
            let scope = Scope::Key { ask: slug.to_owned(), org: Org::This, env: None };
            median(n, || {
                let outcome = get::get(&ctx, &scope, GetOptions::default())?;
                hit(outcome.keys.iter().filter(|answer| answer.secret.is_some()).count())
            })
        }
        ["spawn", n, program, ref rest @ ..] => median(n, || {
            let status =
                Command::new(program).args(rest).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
            if status.success() { Ok(()) } else { Err(format!("{program}: {status}").into()) }
        }),
        ["start", keyrackd, n] => start(Path::new(keyrackd), n.parse()?),
        ["mask", text, keys] => mask(text, keys.parse()?),
        ["text", text, keys] => {
            let secrets = secrets(keys.parse()?);
            std::io::stdout().write_all(&stream(text, &secrets)?)?;
            Ok(std::io::stderr().write_all(&secrets.join(&b'\0'))?)
        }
        ["copy", text] => {
            let mut out = Vec::new();
            throughput(&stream(text, &secrets(1))?, |chunk| {
                out.clear();
                out.extend_from_slice(chunk);
                std::hint::black_box(&out);
            });
            Ok(())
        }
        ["load-fresh", socket, slug, clients, ms] => {
            load(clients.parse()?, ms.parse()?, || Ok(|| legacy_get(socket, slug).map(drop)))
        }
        ["load-native", slug, clients, ms] => load(clients.parse()?, ms.parse()?, || {
            let (mut session, slugs) = (session()?, [Slug::parse(slug)?]);
            Ok(move || hit(session.get(&slugs)?.len()))
        }),
        _ => Err(USAGE.into()),
    }
}

/// How many of the first rounds warm caches and count for nothing.
fn warm_up(n: usize) -> usize {
    (n / 10).min(200)
}

/// Prints the median time of `n` rounds, in nanoseconds.
fn median(n: &str, mut round: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let n: usize = n.parse()?;
    for _ in 0..warm_up(n) {
        round()?;
    }
    let mut times = Vec::with_capacity(n);
    for _ in 0..n {
        let start = Instant::now();
        round()?;
        times.push(start.elapsed());
    }
    print_median(times)
}

fn print_median(mut times: Vec<Duration>) -> Outcome<()> {
    times.sort_unstable();
    println!("{}", times.get(times.len() / 2).ok_or("nothing was measured")?.as_nanos());
    Ok(())
}

fn context() -> Outcome<Context> {
    let ours = |name: &OsString| name == "HOME" || name == "XDG_RUNTIME_DIR";
    let env: BTreeMap<OsString, OsString> = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
    Ok(Context::new(std::env::current_dir()?, env.into_iter().collect::<Environment>()))
}

fn session() -> Outcome<Session> {
    match daemon::connect(&context()?)? {
        Some(Daemon::Native(session)) => Ok(session),
        Some(Daemon::Legacy(_)) | None => Err("no keyrackd answers".into()),
    }
}

fn hit(count: usize) -> Outcome<()> {
    if count == 1 { Ok(()) } else { Err("the key is not there".into()) }
}

fn fill(count: usize, bytes: usize) -> Outcome<()> {
    let source =
        GrantSource { vault: VaultId::parse("os.secure"), mech: Mechanism::parse("PERMANENT_VIA_REPLICA") };
    let grade = Grade::of(&source.vault, &source.mech);
    let secret = vec![b'x'; bytes];
    let slugs: Vec<Slug> =
        (0..count).map(|i| Slug::parse(&format!("bench.test.KEY_{i:06}"))).collect::<Result<_, _>>()?;
    let mut session = session()?;
    for some in slugs.chunks(1000) {
        let keys: Vec<KeyToUnlock<'_>> = some
            .iter()
            .map(|slug| KeyToUnlock {
                slug,
                grade,
                source: &source,
                ttl: Ttl(3_600_000),
                credential_expires_at_ms: None,
                granted: keyrack_core::GrantedTtl::default(),
                secret: &secret,
            })
            .collect();
        for unlocked in session.unlock(&keys)? {
            unlocked.outcome?;
        }
    }
    Ok(())
}

/// One request as today's clients send it: a fresh connection, JSON, read to the end.
fn legacy_get(socket: &str, slug: &str) -> Outcome<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    let request = format!(r#"{{"command":"GET","payload":{{"slugs":["{slug}"]}}}}"#);
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::with_capacity(4096);
    stream.read_to_end(&mut reply)?;
    if reply.starts_with(br#"{"success":true"#) && reply.windows(8).any(|window| window == b"\"secret\"") {
        Ok(reply)
    } else {
        Err("the key is not there".into())
    }
}

fn native_bytes(slug: &str) -> Outcome<()> {
    let socket = session()?.address().socket();
    let mut stream = UnixStream::connect(socket)?;
    let mut outbox = WipedBuffer::new(native::MAX_LENGTH);
    let version = env!("CARGO_PKG_VERSION");
    let hello = Hello {
        proto: native::PROTO,
        min_proto: native::MIN_PROTO,
        version: version.into(),
        build: version.into(),
    };
    Request { id: 1, op: Op::Hello(hello) }.encode(&mut outbox)?;
    let before = outbox.as_slice().len();
    Request { id: 2, op: Op::Get(Get { slugs: vec![slug.into()] }) }.encode(&mut outbox)?;
    let request = outbox.as_slice().len() - before;
    stream.write_all(outbox.as_slice())?;
    let mut inbox = Vec::new();
    for is_hello in [true, false] {
        loop {
            if let Decoded::Frame(frame) = native::decode(&inbox)? {
                let consumed = frame.consumed;
                inbox.drain(..consumed);
                if !is_hello {
                    println!("{request} {consumed}");
                }
                break;
            }
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Err("the daemon hung up".into());
            }
            inbox.extend_from_slice(&chunk[..count]);
        }
    }
    Ok(())
}

/// Times `ensure` and a first answer; the daemon is ended, and gone, between two rounds, which is
/// not timed.
fn start(keyrackd: &Path, n: usize) -> Outcome<()> {
    let ctx = context()?;
    let mut times = Vec::with_capacity(n);
    for _ in 0..n {
        let start = Instant::now();
        let (mut session, started) = daemon::ensure(&ctx, keyrackd)?;
        session.ping()?;
        times.push(start.elapsed());
        if !started {
            return Err("a daemon was there already".into());
        }
        daemon::stop(&ctx)?;
    }
    print_median(times)
}

/// Prints how many requests a second `clients` threads get answered in `ms` milliseconds.
fn load<R: FnMut() -> Outcome<()>>(
    clients: usize,
    ms: u64,
    client: impl Fn() -> Outcome<R> + Sync,
) -> Outcome<()> {
    let (answered, over, failure) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let failed = |error: &dyn Error| {
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    };
    let ready = Barrier::new(clients + 1);
    let elapsed = thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = client();
                ready.wait();
                while !over.load(Ordering::Relaxed) {
                    match client.as_mut().map(|request| request()) {
                        Ok(Ok(())) => answered.fetch_add(1, Ordering::Relaxed),
                        Ok(Err(error)) => return failed(error.as_ref()),
                        Err(error) => return failed(error.as_ref()),
                    };
                }
            });
        }
        ready.wait();
        let start = Instant::now();
        thread::sleep(Duration::from_millis(ms));
        over.store(true, Ordering::Relaxed);
        start.elapsed()
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(format!("a request failed under load: {error}").into());
    }
    let nanos = u64::try_from(elapsed.as_nanos())?.max(1);
    println!("{}", answered.into_inner().saturating_mul(1_000_000_000) / nanos);
    Ok(())
}

/// Secrets as people have them: mostly tokens, and every tenth a private key.
fn secrets(count: u64) -> Vec<Vec<u8>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut text = |len: usize| (0..len).map(|_| BASE64[random.below(64)]).collect::<Vec<u8>>();
    let pem = |lines: Vec<Vec<u8>>| {
        [&b"-----BEGIN KEY-----\n"[..], &lines.join(&b'\n'), b"\n-----END KEY-----\n"].concat()
    };
    (1..=count)
        .map(|at| if at % 10 == 0 { pem((0..25).map(|_| text(64)).collect()) } else { text(40) })
        .collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 64 MiB of what a program may write.
fn stream(kind: &str, secrets: &[Vec<u8>]) -> Outcome<Vec<u8>> {
    const LEN: usize = 64 << 20;
    let mut random = Random(1);
    let mut text = Vec::with_capacity(LEN + 4096);
    while text.len() < LEN {
        match kind {
            "log" => {
                let (at, took) = (text.len(), random.below(1000));
                writeln!(
                    text,
                    "2026-11-23T03:50:46.{took:03}Z INFO  request {at} GET /api/v1/items/{took} 200 in {took} ms"
                )?;
            }
            "json" => {
                let (at, took) = (text.len(), random.below(1000));
                writeln!(
                    text,
                    r#"{{"time":"2026-11-23T03:50:46.{took:03}Z","level":"info","msg":"request {at}","path":"/api/v1/items/{took}","status":200}}"#
                )?;
            }
            "color" => {
                let (at, took) = (text.len(), random.below(1000));
                writeln!(
                    text,
                    "\x1b[2m2026-11-23T03:50:46.{took:03}Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[1mrequest\x1b[0m {at} GET /api/v1/items/{took} \x1b[33m200\x1b[0m in {took} ms"
                )?;
            }
            "escaped" => {
                let took = random.below(1000);
                for b in format!("INFO  request GET /api/v1/items/{took} 200 in {took} ms\n").bytes() {
                    write!(text, "\\u{b:04x}")?;
                }
            }
            "repeated" | "same" => {
                let key = &secrets[0];
                text.extend_from_slice(&key[..key.len() - 10]);
                text.push(b'\n');
            }
            "base64" => {
                text.extend((0..76).map(|_| BASE64[random.below(64)]));
                text.push(b'\n');
            }
            "secrets" => {
                text.extend_from_slice(b"Authorization: Bearer ");
                text.extend_from_slice(&secrets[random.below(secrets.len())]);
                text.push(b'\n');
            }
            _ => return Err(format!("no such text: {kind}").into()),
        }
    }
    text.truncate(LEN);
    Ok(text)
}

/// A key of so many KiB that repeats the first `period` of sixteen characters.
fn repeated(kib: u64, period: usize) -> Outcome<Vec<u8>> {
    Ok(BASE64[11..11 + period].repeat(usize::try_from(kib)? * 1024 / period))
}

fn mask(kind: &str, keys: u64) -> Outcome<()> {
    let secrets = match kind {
        "repeated" => vec![repeated(keys, 16)?],
        "same" => vec![repeated(keys, 1)?],
        _ => secrets(keys),
    };
    let mut masker = Masker::new(Arc::new(Patterns::new(&secrets, &[7; 32])));
    let mut out = Vec::new();
    throughput(&stream(kind, &secrets)?, |chunk| {
        out.clear();
        masker.push(chunk, &mut out);
        std::hint::black_box(&out);
    });
    Ok(())
}

/// Prints how many MB a second go through, in chunks as a pipe gives them: the best of seven.
fn throughput(stream: &[u8], mut each: impl FnMut(&[u8])) {
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        stream.chunks(64 * 1024).for_each(&mut each);
        best = best.min(start.elapsed());
    }
    let bytes = u32::try_from(stream.len()).expect("64 MiB");
    println!("{:.0}", f64::from(bytes) / 1e6 / best.as_secs_f64());
}

/// The generator xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % bound
    }
}
