//! One of the files in `fixtures/ingress`: a request as bytes, and how the public listener answers it.

use std::{fs, path::Path};

/// What a file says.
pub(crate) struct Fixture {
    /// That of the file.
    pub(crate) name: String,
    /// With which it is answered.
    pub(crate) status: u16,
    /// What becomes of its connection: `closed`, `open` or `any`.
    pub(crate) connection: String,
    /// Of the refusal.
    pub(crate) code: Option<String>,
    /// The request.
    pub(crate) bytes: Vec<u8>,
}

/// All of them, by name.
pub(crate) fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/ingress");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Fixture {
    let text = fs::read_to_string(path).unwrap();
    let expected = text.lines().find_map(|line| line.strip_prefix("# expect: ")).unwrap();
    let mut words = expected.split(' ');
    let lines: String = text.lines().filter(|line| !line.starts_with("# ")).collect();
    Fixture {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        status: words.next().unwrap().parse().unwrap(),
        connection: words.next().unwrap().to_owned(),
        code: words.next().map(str::to_owned),
        bytes: unescape(&lines),
    }
}

/// `\r`, `\n`, `\0`, `\xHH`, and `\{TEXT*N}` for N times TEXT.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, behind) = rest[at + 1..].split_at(1);
        rest = behind;
        match escape {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "0" => bytes.push(0),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            "{" => {
                let (repeated, behind) = rest.split_once('}').unwrap();
                let (text, times) = repeated.rsplit_once('*').unwrap();
                bytes.extend(unescape(text).repeat(times.parse().unwrap()));
                rest = behind;
            }
            other => panic!("\\{other} is no escape"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
