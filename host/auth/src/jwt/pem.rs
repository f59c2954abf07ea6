//! PEM with a public key.

use crate::ConfigError;
use crate::encoding::decode_any_base64;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const PUBLIC_KEY: &str = "PUBLIC KEY";

/// The length of a label that an error shows at most, in characters.
const SHOWN_LABEL: usize = 32;

/// The DER of the one `PUBLIC KEY` block of a text. Text around it is skipped.
///
/// # Errors
///
/// There is no block, another one, or more than one.
pub(super) fn public_key_der(text: &str) -> Result<Vec<u8>, ConfigError> {
    let (_, block) = text.split_once(BEGIN).ok_or(ConfigError::PublicKeyForm)?;
    let (label, block) = block.split_once(DASHES).ok_or(ConfigError::PublicKeyForm)?;
    if label != PUBLIC_KEY {
        return Err(other_label(label));
    }
    let end = "-----END PUBLIC KEY-----";
    let (body, rest) = block
        .split_once(end)
        .ok_or(ConfigError::PublicKey("its PEM has no `-----END PUBLIC KEY-----`"))?;
    if rest.contains(BEGIN) {
        return Err(ConfigError::PublicKey("found several PEM blocks; give each key for itself"));
    }
    decode_any_base64(body).ok_or(ConfigError::PublicKey("its PEM is not base64"))
}

fn other_label(label: &str) -> ConfigError {
    if label.ends_with("PRIVATE KEY") {
        return ConfigError::PrivateKey;
    }
    let advice = match label {
        "CERTIFICATE" => "take its key with `openssl x509 -pubkey -noout`",
        "RSA PUBLIC KEY" => "convert it with `openssl rsa -RSAPublicKey_in -pubout`",
        _ => "convert it with `openssl pkey -pubin`",
    };
    ConfigError::PemLabel { label: label.chars().take(SHOWN_LABEL).collect(), advice }
}
