//! What runs of servers say of themselves.

use relay_core::{
    id::InstanceId,
    limits,
    storage::{Presence, SeenClient},
    time::Wall,
};

use super::{Core, backlog::Urgency, reply::Fault, scripts::Script, text};
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;

/// Its moment in the open, for the script, and all of it sealed.
fn write(said: &Presence) -> Vec<u8> {
    let mut out = text::moment(said.at).into_bytes();
    let mut record = Sealing::begin(VERSION, &mut out).about(&said.run.to_be_bytes());
    record.i64(said.at.as_micros());
    record.u32(said.clients.len() as u32);
    for client in &said.clients {
        record.u128(client.instance.as_u128());
        record.u16(client.serves.len() as u16);
        for name in &client.serves {
            record.text(name.as_str());
        }
    }
    record.end();
    out
}

fn read(run: u64, said: &[u8]) -> Result<Presence, RecordError> {
    let (_, sealed) = said.split_at_checked(text::MOMENT).ok_or(RecordError::Short)?;
    let mut fields = Fields::open(VERSION, &[&run.to_be_bytes()], sealed)?;
    let at = Wall::from_micros(fields.i64()?);
    let mut clients = Vec::new();
    for _ in 0..fields.u32()? {
        let instance = InstanceId::from_u128(fields.u128()?);
        let mut serves = Vec::new();
        for _ in 0..fields.u16()? {
            serves.push(fields.text("a name")?.parse().map_err(|_| RecordError::Field("a name"))?);
        }
        clients.push(SeenClient { instance, serves });
    }
    fields.end()?;
    Ok(Presence { run, at, clients })
}

impl Core {
    /// Takes down what one run says, and tells what the others say.
    pub(super) async fn presence(&self, mine: &Presence) -> Result<Vec<Presence>, Fault> {
        self.life.check()?;
        let gone = Wall::from_micros(mine.at.as_micros() - limits::PRESENCE_GONE.as_micros() as i64);
        let arguments = [mine.run.to_be_bytes().to_vec(), write(mine), text::moment(gone).into_bytes()];
        let reply = self.commits.one(Urgency::Other, Script::Presence.call(&[self.space.runs()], arguments)).await?;
        let mut parts = reply.many()?.into_iter();
        let mut others = Vec::new();
        while let (Some(run), Some(said)) = (parts.next(), parts.next()) {
            let run: [u8; 8] = run.bytes()?.try_into().map_err(|_| Fault::Damaged("a run that is none".into()))?;
            let run = u64::from_be_bytes(run);
            others.extend(self.damage.passed(&format_args!("words of run {run:x}"), read(run, &said.bytes()?)));
        }
        others.sort_by_key(|said| said.run);
        Ok(others)
    }
}
