namespace ConformanceTests.Harness.Wire;

/// <summary>A connection inside TLS.</summary>
public sealed class SealedConnection : ProtocolConnection
{
    public readonly Tls Tls;

    /// <summary>Whether the other side may end without close_notify (SEAL-6), because the test broke a rule.</summary>
    public bool MayBeCut;

    public SealedConnection(Socket socket, Side self, Tls tls, Delivery delivery = Delivery.Whole)
        : base(socket, self, delivery) => Tls = tls;

    protected override void SendPiece(ReadOnlySpan<byte> piece) => Tls.Send(piece);

    protected override void EndSending()
    {
        Tls.SendCloseNotify();
        base.EndSending();
    }

    protected override int ReceiveSome(byte[] into, int at, int most, out SocketError error)
    {
        int received = Tls.Receive(into.AsSpan(at, most), out error);
        if (received == 0 && error == SocketError.Success && Tls.AlertReceived != Tls.CloseNotify && !MayBeCut)
        {
            throw new Violation("expected  close_notify before the FIN (SEAL-6)\nreceived  "
                + (Tls.AlertReceived is { } what ? $"the alert {what}" : "the FIN alone") + $"\nso far\n{SoFar()}");
        }

        return received;
    }
}
