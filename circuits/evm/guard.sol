// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.20;

// Contracts to stand between everybody and a verifier contract of EZKL 23.0.5.
//
// EZKL's verifiers hash the proof that the calldata's offset points at, and check the bytes at a
// fixed place. Whoever writes the calldata makes these two different, knows every challenge
// beforehand, and has any instances accepted. So a guard
//   (1) is the only one that calls the verifier, and writes that call itself with the ABI encoder;
//   (2) takes one encoding of its own arguments only, so that whoever reads its calldata at fixed
//       places reads what was verified;
//   (3) knows its verifier by address and code, and the verifying key by its digest: anybody may
//       register one with the reusable verifier;
//   (4) demands what a circuit leaves to whoever verifies: public inputs inside the accepted range,
//       residues of zero;
//   (5) of a circuit with committed hints, computes the challenges from the proof's first bytes.
//
// Whoever calls a guard still has to compare the instances with what it expects: above all the
// context, or one proof counts twice. With committed hints the context is an argument.

interface IVerifier {
    function verifyProof(bytes calldata proof, uint256[] calldata instances)
        external
        view
        returns (bool);
}

interface IReusableVerifier {
    // It returns the key's digest and rescaled instances too. Nothing here needs these, and the
    // instances are not encoded as its ABI says.
    function verifyProof(bytes calldata proof, uint256[] calldata instances, bytes32[] calldata vka)
        external
        view
        returns (bool);
}

abstract contract Guard {
    // `count` instances in a row, each of low, low + 1, ... low + span; any field element where
    // `span` is ANY.
    struct Segment {
        uint32 count;
        int112 low;
        uint112 span;
    }

    error OtherVerifier();
    error NotCanonical();
    error WrongLength();
    error OtherVerifyingKey();
    error InstanceRefused(uint256 index);
    error InputRefused(uint256 index);
    error ChallengeRefused(uint256 index);
    error ProofRefused();

    uint256 internal constant R =
        0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint112 internal constant ANY = type(uint112).max;
    uint256 private constant WORD = 0x20;

    address public immutable verifier;
    bytes32 public immutable verifierCodehash;
    uint256 public immutable proofBytes;
    uint256 public immutable instanceCount;
    Segment[] public segments;

    // `codeSha256` is of the verifier's code as it lies on chain.
    constructor(address verifier_, bytes32 codeSha256, uint256 proofBytes_, Segment[] memory all) {
        if (sha256(verifier_.code) != codeSha256) revert OtherVerifier();
        if (proofBytes_ == 0 || proofBytes_ % WORD != 0) revert WrongLength();
        uint256 count;
        for (uint256 i; i < all.length; ++i) {
            count += all[i].count;
            segments.push(all[i]);
        }
        verifier = verifier_;
        verifierCodehash = verifier_.codehash;
        proofBytes = proofBytes_;
        instanceCount = count;
    }

    // That the calldata holds `head` words of offsets, then proof, instances and what is left
    // behind each other, without a gap and in this order.
    function _checkEncoding(
        uint256 head,
        bytes calldata proof,
        uint256[] calldata instances,
        uint256 left
    ) internal view {
        if (proof.length != proofBytes || instances.length != instanceCount) revert WrongLength();
        uint256 proofAt;
        uint256 instancesAt;
        assembly {
            proofAt := proof.offset
            instancesAt := instances.offset
        }
        uint256 end = instancesAt + instances.length * WORD + left;
        if (
            proofAt != 4 + (head + 1) * WORD || instancesAt != proofAt + proof.length + WORD
                || msg.data.length != end
        ) revert NotCanonical();
    }

    // What to add, mod R, so that `low` becomes zero.
    function _shift(int256 low) internal pure returns (uint256) {
        return low > 0 ? R - uint256(low) : uint256(-low);
    }

    function _checkInstances(uint256[] calldata instances) internal view {
        uint256 at;
        uint256 parts = segments.length;
        for (uint256 i; i < parts; ++i) {
            Segment memory s = segments[i];
            uint256 shift = _shift(s.low);
            for (uint256 end = at + s.count; at < end; ++at) {
                uint256 value = instances[at];
                bool inside = s.span == ANY || addmod(value, shift, R) <= s.span;
                if (value >= R || !inside) revert InstanceRefused(at);
            }
        }
    }

    function _checkVerifier() internal view {
        if (verifier.codehash != verifierCodehash) revert OtherVerifier();
    }
}

// In front of the verifier of one circuit, whose code holds the verifying key.
contract VerifierGuard is Guard {
    constructor(address verifier_, bytes32 codeSha256, uint256 proofBytes_, Segment[] memory all)
        Guard(verifier_, codeSha256, proofBytes_, all)
    {}

    // True, or it reverts.
    function checkProof(bytes calldata proof, uint256[] calldata instances)
        external
        view
        returns (bool)
    {
        _checkEncoding(2, proof, instances, 0);
        _checkInstances(instances);
        _checkVerifier();
        try IVerifier(verifier).verifyProof(proof, instances) returns (bool accepted) {
            if (accepted) return true;
        } catch {}
        revert ProofRefused();
    }
}

// In front of the reusable verifier, for one circuit. The key is given with each call and known by
// the SHA-256 of its words.
contract ReusableVerifierGuard is Guard {
    bytes32 public immutable vkaSha256;

    constructor(
        address verifier_,
        bytes32 codeSha256,
        bytes32 vkaSha256_,
        uint256 proofBytes_,
        Segment[] memory all
    ) Guard(verifier_, codeSha256, proofBytes_, all) {
        vkaSha256 = vkaSha256_;
    }

    // True, or it reverts.
    function checkProof(bytes calldata proof, uint256[] calldata instances, bytes32[] calldata vka)
        external
        view
        returns (bool)
    {
        _checkEncoding(3, proof, instances, (vka.length + 1) * 0x20);
        uint256 vkaAt;
        uint256 instancesEnd;
        assembly {
            vkaAt := vka.offset
            instancesEnd := add(instances.offset, shl(5, instances.length))
        }
        if (vkaAt != instancesEnd + 0x20) revert NotCanonical();
        if (sha256(abi.encodePacked(vka)) != vkaSha256) revert OtherVerifyingKey();
        _checkInstances(instances);
        _checkVerifier();
        try IReusableVerifier(verifier).verifyProof(proof, instances, vka) returns (bool accepted) {
            if (accepted) return true;
        } catch {}
        revert ProofRefused();
    }
}

// In front of the verifier of one circuit with committed hints and sealed weights, of one lane
// (docs/receipt.md, 5, has the challenges).
contract CommittedVerifierGuard is Guard {
    // SHA-256 of the circuit's files; how many of the proof's first bytes are commitments that
    // challenges hash; how many elements a public input has, in how many columns it is evaluated
    // (both zero where it is private), and its range: low, low + 1, ... low + span.
    struct Binding {
        bytes32 vkSha256;
        bytes32 settingsSha256;
        bytes32 srsPartSha256;
        bytes32 claimSha256;
        uint256 committedBytes;
        uint256 inputCount;
        uint256 width;
        int112 low;
        uint112 span;
    }

    bytes32 public immutable vkSha256;
    bytes32 public immutable settingsSha256;
    bytes32 public immutable srsPartSha256;
    bytes32 public immutable claimSha256;
    uint256 public immutable committedBytes;
    uint256 public immutable inputCount;
    uint256 public immutable width;
    int112 public immutable low;
    uint112 public immutable span;

    // Challenges stand first among the instances; then, where the input is public, its evaluation.
    uint256 private constant CHALLENGES = 5;

    constructor(
        address verifier_,
        bytes32 codeSha256,
        Binding memory binding,
        uint256 proofBytes_,
        Segment[] memory all
    ) Guard(verifier_, codeSha256, proofBytes_, all) {
        if (binding.committedBytes == 0 || binding.committedBytes > proofBytes_) {
            revert WrongLength();
        }
        if ((binding.inputCount == 0) != (binding.width == 0)) revert WrongLength();
        vkSha256 = binding.vkSha256;
        settingsSha256 = binding.settingsSha256;
        srsPartSha256 = binding.srsPartSha256;
        claimSha256 = binding.claimSha256;
        committedBytes = binding.committedBytes;
        inputCount = binding.inputCount;
        width = binding.width;
        low = binding.low;
        span = binding.span;
    }

    // True, or it reverts. `context` is the digest of a context; `input` a public input's elements,
    // or nothing.
    function checkProof(
        bytes calldata proof,
        uint256[] calldata instances,
        uint256 context,
        uint256[] calldata input
    ) external view returns (bool) {
        _checkEncoding(4, proof, instances, (input.length + 1) * 0x20);
        uint256 inputAt;
        uint256 instancesEnd;
        assembly {
            inputAt := input.offset
            instancesEnd := add(instances.offset, shl(5, instances.length))
        }
        if (inputAt != instancesEnd + 0x20) revert NotCanonical();
        if (input.length != inputCount) revert WrongLength();
        _checkInstances(instances);
        _checkChallenges(proof, instances, context, input);
        _checkVerifier();
        try IVerifier(verifier).verifyProof(proof, instances) returns (bool accepted) {
            if (accepted) return true;
        } catch {}
        revert ProofRefused();
    }

    function _checkChallenges(
        bytes calldata proof,
        uint256[] calldata instances,
        uint256 context,
        uint256[] calldata input
    ) private view {
        bytes32 seed = sha256(
            abi.encodePacked(
                "zkml-prover/committed-hints/v1",
                vkSha256,
                settingsSha256,
                srsPartSha256,
                claimSha256,
                sha256(abi.encode(context)),
                sha256(inputCount == 0 ? bytes("private") : _told(input)),
                sha256(proof[:committedBytes])
            )
        );
        _challenge(instances, 0, seed, "output");
        _challenge(instances, 1, seed, "row");
        _challenge(instances, 2, seed, "column");
        uint256 row = _challenge(instances, 3, seed, "input-row");
        uint256 column = _challenge(instances, 4, seed, "input-column");
        if (inputCount != 0 && instances[CHALLENGES] != _evaluation(input, row, column)) {
            revert InstanceRefused(CHALLENGES);
        }
    }

    // A challenge: the first 31 bytes of a hash, read little-endian. The circuit shows it doubled,
    // which is still below R.
    function _challenge(
        uint256[] calldata instances,
        uint256 index,
        bytes32 seed,
        string memory name
    ) private pure returns (uint256 challenge) {
        challenge = _reversed(uint256(sha256(abi.encodePacked(seed, name)))) & (type(uint248).max);
        if (challenge == 0 || instances[index] != 2 * challenge) revert ChallengeRefused(index);
    }

    // What is hashed of a public input, whose elements have to be in range.
    function _told(uint256[] calldata input) private view returns (bytes memory told) {
        told = abi.encodePacked("public", input);
        uint256 shift = _shift(low);
        for (uint256 i; i < input.length; ++i) {
            uint256 value = input[i];
            if (value >= R || addmod(value, shift, R) > span) revert InputRefused(i);
            uint256 word = _reversed(value);
            assembly {
                mstore(add(add(told, 0x26), shl(5, i)), word)
            }
        }
    }

    // The sum of input[a * width + b] * row^(a + 1) * column^(b + 1).
    function _evaluation(uint256[] calldata input, uint256 row, uint256 column)
        private
        view
        returns (uint256 total)
    {
        uint256 columns = width;
        unchecked {
            for (uint256 a = (input.length + columns - 1) / columns; a > 0; --a) {
                uint256 start = (a - 1) * columns;
                uint256 end = start + columns < input.length ? start + columns : input.length;
                uint256 line;
                for (uint256 i = end; i > start; --i) {
                    line = mulmod(addmod(line, input[i - 1], R), column, R);
                }
                total = mulmod(addmod(total, line, R), row, R);
            }
        }
    }

    // The same bytes, the last one first.
    function _reversed(uint256 word) private pure returns (uint256 v) {
        v = word;
        uint256 mask = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
        v = ((v >> 8) & mask) | ((v & mask) << 8);
        mask = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
        v = ((v >> 16) & mask) | ((v & mask) << 16);
        mask = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
        v = ((v >> 32) & mask) | ((v & mask) << 32);
        mask = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
        v = ((v >> 64) & mask) | ((v & mask) << 64);
        v = (v >> 128) | (v << 128);
    }
}
