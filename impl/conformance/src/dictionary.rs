//! Which bytes stand for which term, in one run.
//!
//! Chapters 10 to 80. A value of the model is a term: it says what it is made of. So its bytes can
//! be computed from the bytes of its parts, by the real hash, signature or seal, unless it was drawn
//! at random: then it is learned where the implementation first says it. Whatever was learned has
//! to stay so, no two terms may have the same bytes, and what is computed must be what was said.

use std::collections::HashMap;

use split_custody_keys::{Dek, KekPublic, hash_label, verify};
use split_custody_model_check::symbolic::{
    ADVERSARY_SECRET, Hardware, Principal, public_key, sealed_parts,
};
use split_custody_model_check::term::{Term, parts_of};
use split_custody_protocol::suite::{
    Digest, Label, SealedShare, Signature, VerifyKey, secret_label,
};
use split_custody_protocol::wire::{Signed, decode};

use crate::cbor::Item;
use crate::divergence::{Divergence, brief};
use crate::keyring::Keyring;

/// The two languages.
pub struct Dictionary {
    ring: Keyring,
    real: HashMap<Vec<u8>, Vec<u8>>,
    model: HashMap<Vec<u8>, Vec<u8>>,
    signers: HashMap<Vec<u8>, Principal>,
    /// Learned before all its parts were: checked as soon as they are.
    unchecked: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether what nobody said is made up: an adversary may name values that it never saw.
    invents: bool,
}

/// A value whose bytes nobody has said yet.
#[derive(Clone, Debug)]
pub struct Unknown(String);

impl From<Unknown> for Divergence {
    fn from(unknown: Unknown) -> Self {
        Self::new(format!("the model uses {}, which the implementation never said", unknown.0))
    }
}

/// What a value of the model is, by its form.
enum Form {
    Term(Term),
    /// The front of a term that fills a shorter value.
    Front,
    VerifyKey,
    Signature(Term),
    Sealed,
    Report(&'static str, Hardware, Digest),
    Tree(Item),
    /// The same in both languages: an id, a number, a name.
    Plain,
}

impl Dictionary {
    pub fn new(ring: Keyring) -> Self {
        let mut dictionary = Self {
            real: HashMap::new(),
            model: HashMap::new(),
            signers: HashMap::new(),
            unchecked: Vec::new(),
            invents: false,
            ring,
        };
        let keys: Vec<(Principal, VerifyKey)> = dictionary.ring.verify_keys().collect();
        for (who, key) in keys {
            dictionary.learn(who.verify_key().as_bytes(), key.as_bytes());
            dictionary.signers.insert(who.verify_key().as_bytes().to_vec(), who);
        }
        let adversary = dictionary.ring.adversary_public();
        dictionary.learn(public_key(ADVERSARY_SECRET).as_bytes(), &adversary);
        dictionary
    }

    pub const fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// From now on these bytes stand for this value, whole.
    pub fn learn(&mut self, model: &[u8], real: &[u8]) {
        self.real.insert(model.to_vec(), real.to_vec());
        self.model.insert(real.to_vec(), model.to_vec());
    }

    /// The model says one thing and the implementation another: they must be the same.
    pub fn meet(&mut self, model: &[u8], real: &[u8]) -> Result<(), Divergence> {
        if let Some(known) = self.real.get(model) {
            return if known == real { Ok(()) } else { Err(differ(model, known, real)) };
        }
        match form(model) {
            Form::Plain if model == real => Ok(()),
            Form::Plain => Err(differ(model, model, real)),
            Form::Tree(tree) => {
                let other = Item::read(real)
                    .ok_or_else(|| Divergence::new(format!("{} is no CBOR", brief(real))))?;
                self.meet_items(&tree, &other)?;
                self.learn(model, real);
                Ok(())
            }
            _ => self.meet_value(model, real),
        }
    }

    fn meet_value(&mut self, model: &[u8], real: &[u8]) -> Result<(), Divergence> {
        if let Some(other) = self.model.get(real).filter(|other| *other != model) {
            let (real, model, other) = (brief(real), brief(model), brief(other));
            return Err(Divergence::new(format!(
                "{real} stands for two values of the model, {model} and {other}"
            )));
        }
        self.learn(model, real);
        self.unchecked.push((model.to_vec(), real.to_vec()));
        Ok(())
    }

    fn meet_items(&mut self, model: &Item, real: &Item) -> Result<(), Divergence> {
        match (model, real) {
            (Item::Bytes(model), Item::Bytes(real)) => self.meet(model, real),
            (Item::Array(orders), Item::Array(real)) if are_orders(orders) => {
                let sorted = self.sorted(orders).map_err(Divergence::from)?;
                if sorted == *real { Ok(()) } else { Err(Divergence::new("other orders")) }
            }
            (Item::Array(model), Item::Array(real)) | (Item::Map(model), Item::Map(real))
                if model.len() == real.len() =>
            {
                model.iter().zip(real).try_for_each(|(model, real)| self.meet_items(model, real))
            }
            (model, real) if model == real => Ok(()),
            (model, real) => Err(Divergence::new(format!("{real:?}, the model says {model:?}"))),
        }
    }

    /// Checks what was learned, where all its parts are known by now.
    pub fn check(&mut self) -> Result<(), Divergence> {
        for (model, real) in std::mem::take(&mut self.unchecked) {
            match self.is_made_of(&model, &real) {
                Ok(()) => {}
                Err(Some(divergence)) => return Err(divergence),
                Err(None) => self.unchecked.push((model, real)),
            }
        }
        Ok(())
    }

    /// `Err(None)` where a part is not known yet.
    fn is_made_of(&mut self, model: &[u8], real: &[u8]) -> Result<(), Option<Divergence>> {
        let computed = match form(model) {
            Form::Term(term) => match self.compute(&term) {
                Some(computed) => computed.map_err(|Unknown(_)| None)?,
                None => return Ok(()), // drawn, or made of a secret
            },
            Form::Signature(term) => return self.verifies(&term, real),
            Form::Report(half, hardware, value) => {
                return self.reports(half, hardware, &value, real);
            }
            _ => return Ok(()),
        };
        if computed == real { Ok(()) } else { Err(Some(differ(model, &computed, real))) }
    }

    fn verifies(&mut self, signature: &Term, real: &[u8]) -> Result<(), Option<Divergence>> {
        let [key, message] = &signature.parts[..] else { return Ok(()) };
        let key = self.real_of(key).map_err(|_| None)?;
        let message = self.real_of(message).map_err(|_| None)?;
        let (Ok(key), Ok(real)) = (key.as_slice().try_into(), real.try_into()) else {
            return Err(Some(Divergence::new("a key or a signature of another length")));
        };
        verify(&VerifyKey::new(key), &message, &Signature::new(real)).map_err(|_| {
            Some(Divergence::new("a signature that does not verify over what the model signs"))
        })
    }

    /// A real report says what the model's does.
    fn reports(
        &mut self,
        half: &'static str,
        hardware: Hardware,
        value: &Digest,
        real: &[u8],
    ) -> Result<(), Option<Divergence>> {
        let value = self.digest_of(value).map_err(|_| None)?;
        let again = self.ring.report(half, hardware, &value);
        let payload = |bytes: &[u8]| {
            let signed: Option<Signed> = decode(bytes, Signed::CAP + 128).ok();
            signed.map(|signed| signed.payload_bytes().to_vec())
        };
        if payload(&again) == payload(real) {
            Ok(())
        } else {
            Err(Some(Divergence::new(format!("a {half} report over something else"))))
        }
    }

    /// The bytes of a frame that arrives: said before, or composed by whoever sends it.
    pub fn arriving(&mut self, model: &[u8]) -> Result<Vec<u8>, Unknown> {
        self.invents = true;
        let real = self.real_of(model);
        self.invents = false;
        real
    }

    /// The bytes of a value of the model; a signature, seal or report is made where there is none.
    pub fn real_of(&mut self, model: &[u8]) -> Result<Vec<u8>, Unknown> {
        if let Some(real) = self.real.get(model) {
            return Ok(real.clone());
        }
        let unknown = |what: &str| Unknown(format!("{what} {}", brief(model)));
        let real = match form(model) {
            Form::Plain => return Ok(model.to_vec()),
            Form::Front => return Err(unknown("an id")),
            Form::VerifyKey => return Err(unknown("a key")),
            Form::Term(term) => match self.compute(&term) {
                Some(computed) => computed?,
                None if self.invents => Dek::generate().expose().to_vec(),
                None => return Err(unknown(term.constructor)),
            },
            Form::Signature(term) => self.sign(&term)?,
            Form::Sealed => self.seal(model)?,
            Form::Report(half, hardware, value) => {
                let value = self.digest_of(&value)?;
                self.ring.report(half, hardware, &value)
            }
            Form::Tree(tree) => self.translated(&tree)?.write(),
        };
        self.learn(model, &real);
        Ok(real)
    }

    fn translated(&mut self, item: &Item) -> Result<Item, Unknown> {
        let all = |this: &mut Self, items: &[Item]| {
            items.iter().map(|item| this.translated(item)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match item {
            Item::Bytes(bytes) => Item::Bytes(self.real_of(bytes)?),
            Item::Array(orders) if are_orders(orders) => Item::Array(self.sorted(orders)?),
            Item::Array(items) => Item::Array(all(self, items)?),
            Item::Map(items) => Item::Map(all(self, items)?),
            Item::Number(_) | Item::Text(_) => item.clone(),
        })
    }

    /// Digests of orders, in the order of their real bytes. [AUD-5]
    fn sorted(&mut self, orders: &[Item]) -> Result<Vec<Item>, Unknown> {
        let mut real = Vec::new();
        for order in orders {
            if let Item::Bytes(order) = order {
                real.push(self.real_of(order)?);
            }
        }
        real.sort();
        Ok(real.into_iter().map(Item::Bytes).collect())
    }

    /// The same set of orders; each language sorts by its own bytes.
    pub fn meet_orders(&mut self, model: &[Digest], real: &[Digest]) -> Result<(), Divergence> {
        let items: Vec<Item> = model.iter().map(|d| Item::Bytes(d.as_bytes().to_vec())).collect();
        let mut real: Vec<Vec<u8>> = real.iter().map(|d| d.as_bytes().to_vec()).collect();
        real.sort();
        let real: Vec<Item> = real.into_iter().map(Item::Bytes).collect();
        if self.sorted(&items)? == real { Ok(()) } else { Err(Divergence::new("other orders")) }
    }

    pub fn digest_of(&mut self, model: &Digest) -> Result<Digest, Unknown> {
        let real = self.real_of(model.as_bytes())?;
        let real = real.as_slice().try_into();
        real.map(Digest::new).map_err(|_| Unknown("a value of another length".into()))
    }

    /// What a term's bytes are, from those of its parts; `None` where it was drawn at random or is
    /// made of a secret, and so can only be learned.
    fn compute(&mut self, term: &Term) -> Option<Result<Vec<u8>, Unknown>> {
        if let Some(label) = label(term.constructor) {
            let parts: Result<Vec<_>, _> =
                term.parts.iter().map(|part| self.real_of(part)).collect();
            return Some(parts.map(|parts| {
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                hash_label(label, &parts).as_bytes().to_vec()
            }));
        }
        match (term.constructor, &term.parts[..]) {
            ("exporter", [channel, context]) => {
                let channel = u64::from_be_bytes(channel.as_slice().try_into().ok()?);
                let context = self.real_of(context);
                Some(context.map(|c| self.ring.exporter(channel, &c).as_bytes().to_vec()))
            }
            (secret_label::DEVICE, [parts]) => {
                let [gpu, cpu] = parts[..] else { return None };
                let device = self.ring.device(hardware(gpu)?, hardware(cpu)?);
                Some(Ok(device.as_bytes().to_vec()))
            }
            // Names that an operator or a certificate gives: the same in both languages.
            ("leaf" | "issuer" | "table" | "root" | "measurement" | "hole", _) => {
                let parts: Vec<&[u8]> = term.parts.iter().map(Vec::as_slice).collect();
                let name = split_custody_model_check::term::term(term.constructor, &parts);
                Some(Ok(name.to_vec()))
            }
            _ => None,
        }
    }

    /// Signs as the model's principal did.
    fn sign(&mut self, signature: &Term) -> Result<Vec<u8>, Unknown> {
        let unknown = || Unknown("a signature".into());
        let [key, message] = &signature.parts[..] else { return Err(unknown()) };
        let who = *self.signers.get(key).ok_or_else(unknown)?;
        let message = self.real_of(message)?;
        let signed = self.ring.signer(who).and_then(|key| key.sign(&message).ok());
        signed.map(|signature| signature.as_bytes().to_vec()).ok_or_else(unknown)
    }

    fn seal(&mut self, model: &[u8]) -> Result<Vec<u8>, Unknown> {
        let unknown = || Unknown(format!("a sealed share {}", brief(model)));
        let sealed = SealedShare::new(model.to_vec()).ok_or_else(unknown)?;
        let (to, context, share) = sealed_parts(&sealed).ok_or_else(unknown)?;
        let to = self.real_of(to)?;
        let context = self.real_of(context)?;
        let context = context.as_slice().try_into().map(Digest::new).map_err(|_| unknown())?;
        let to = to.as_slice().try_into().ok().and_then(KekPublic::new).ok_or_else(unknown)?;
        let share = self.ring.share(share.value()).ok_or_else(unknown)?;
        let sealed = to.seal_known_answer(&context, share).ok_or_else(unknown)?;
        Ok(sealed.as_bytes().to_vec())
    }
}

/// What a value is, by its form and the table of terms.
fn form(model: &[u8]) -> Form {
    match model.len() {
        32 => parts_of(model).map_or(Form::Plain, |term| Form::Term((*term).clone())),
        16 => {
            let padded = [model, &[0; 16]].concat();
            if parts_of(&padded).is_some() { Form::Front } else { Form::Plain }
        }
        64 => match parts_of(&model[..32]) {
            Some(term) if term.constructor == "signature" => Form::Signature((*term).clone()),
            _ => Form::Plain,
        },
        _ => long_form(model),
    }
}

fn long_form(model: &[u8]) -> Form {
    if let Some(tree) = Item::read(model) {
        return Form::Tree(tree);
    }
    if let Some((half, hardware, value)) = report(model) {
        return Form::Report(half, hardware, value);
    }
    match model.len() {
        65 if model[0] == 4 && parts_of(&model[1..33]).is_some() => Form::VerifyKey,
        72 if parts_of(&model[..32]).is_some() => Form::Sealed,
        _ => Form::Plain,
    }
}

/// Whether a list holds digests of orders and nothing else.
fn are_orders(items: &[Item]) -> bool {
    let is_order = |item: &Item| match item {
        Item::Bytes(bytes) => {
            parts_of(bytes).is_some_and(|term| term.constructor == Label::Order.text())
        }
        _ => false,
    };
    !items.is_empty() && items.iter().all(is_order)
}

/// A report of the model: whose part, which value, and a seal that says which half.
fn report(model: &[u8]) -> Option<(&'static str, Hardware, Digest)> {
    let (part, rest) = model.split_first()?;
    let (value, seal) = rest.split_at_checked(32)?;
    let term = parts_of(seal).filter(|term| term.constructor == "report")?;
    let half = if term.parts.first()?.as_slice() == b"gpu" { "gpu" } else { "cpu" };
    Some((half, hardware(*part)?, Digest::new(value.try_into().ok()?)))
}

fn hardware(byte: u8) -> Option<Hardware> {
    match byte {
        1 => Some(Hardware::Enrolled),
        2 => Some(Hardware::Adversary),
        3 => Some(Hardware::Altered),
        _ => None,
    }
}

/// The label of a transcript's term.
fn label(constructor: &str) -> Option<Label> {
    use Label as L;
    let all = [
        L::Hello,
        L::Th1,
        L::Th2,
        L::Entry,
        L::Session,
        L::Gpu,
        L::Cpu,
        L::Evidence,
        L::DeviceKey,
        L::Auth,
        L::Grant,
        L::Sealed,
        L::Manifest,
        L::Order,
        L::Provision,
        L::Kek,
        L::Leaf,
        L::Everything,
        L::Weights,
        L::Policy,
        L::Kdf,
    ];
    all.into_iter().find(|label| label.text() == constructor)
}

fn differ(model: &[u8], expected: &[u8], real: &[u8]) -> Divergence {
    let term = match form(model) {
        Form::Term(term) | Form::Signature(term) => term.constructor,
        Form::Report(..) => "a report",
        Form::Sealed => "a sealed share",
        Form::Tree(_) => "a message",
        _ => "a value",
    };
    Divergence::new(format!(
        "the implementation has {}, where the model's {term} is {}",
        brief(real),
        brief(expected)
    ))
}
